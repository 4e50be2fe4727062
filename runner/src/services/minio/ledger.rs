//! What must be in the store when a load is over, as far as the answers to its writes tell.
//!
//! A client notes its writes and hands them over when it goes, so the request path takes no lock. Objects of phases are each
//! put once and deleted at most once, and may be many: they are counted. The few objects that a mix or a warm-up writes again
//! and again are known one by one: the write that began last says what is left of one, if it was answered and every
//! other had ended before. Of a write without a good answer nobody knows whether it took effect, and when.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::plan::{Object, Request};

/// The writes of all clients.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Writes>>);

/// The writes of one client.
#[derive(Debug)]
pub struct OwnWrites {
    all: Ledger,
    own: Writes,
    under_way: Option<(Object, Write)>,
}

#[derive(Debug, Default)]
struct Writes {
    phased: Phased,
    again: HashMap<Object, Again>,
}

/// PUTs and DELETEs of objects of phases; of these, those with a good answer.
#[derive(Debug, Default)]
struct Phased {
    puts: u64,
    put: u64,
    deletes: u64,
    deleted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    is_put: bool,
    start: Instant,
    /// When its good answer was there.
    end: Option<Instant>,
}

/// What is known of an object that is written again and again.
#[derive(Clone, Copy, Debug)]
struct Again {
    /// The write that began last.
    last: Write,
    /// When the last of the others had ended.
    others_end: Option<Instant>,
    /// One of the others had no good answer.
    others_unknown: bool,
}

/// What a listing of all objects of the run has.
#[derive(Debug, Default)]
pub struct Found {
    pub pooled: u64,
    pub phased: u64,
    pub again: HashSet<Object>,
}

impl Ledger {
    pub fn of_client(&self) -> OwnWrites {
        OwnWrites { all: self.clone(), own: Writes::default(), under_way: None }
    }

    /// What the store has otherwise than the answers said. `pooled`: objects that were put before the load and never since.
    pub fn check(&self, pooled: u64, found: &Found) -> Result<(), String> {
        let writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.pooled != pooled {
            return Err(format!("of {pooled} objects that were put before the load, {} are listed", found.pooled));
        }
        let (least, most) = writes.phased.range();
        if !(least..=most).contains(&found.phased) {
            let Phased { put, deleted, .. } = writes.phased;
            let listed = found.phased;
            return Err(format!("{listed} objects are listed, after {put} were put and {deleted} deleted"));
        }
        if let Some(object) = found.again.iter().find(|object| !writes.again.contains_key(object)) {
            return Err(format!("the object {} is listed, and was never put", object.name()));
        }
        for (object, again) in &writes.again {
            match (again.must_be(), found.again.contains(object)) {
                (Some(true), false) => return Err(format!("the object {} was put, and is not listed", object.name())),
                (Some(false), true) => {
                    return Err(format!("the object {} was deleted, and is still listed", object.name()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl OwnWrites {
    /// A request is about to be sent. What was under way before was given up.
    pub fn begin(&mut self, request: Request) {
        self.note();
        let (object, is_put) = match request {
            Request::Put(object) => (object, true),
            Request::Delete(object) => (object, false),
            Request::Get(_) | Request::List { .. } => return,
        };
        self.under_way = Some((object, Write { is_put, start: Instant::now(), end: None }));
    }

    /// The answer to it came, and was good or not.
    pub fn end(&mut self, good: bool) {
        if let Some((_, write)) = &mut self.under_way {
            write.end = good.then(Instant::now);
        }
        self.note();
    }

    fn note(&mut self) {
        let Some((object, write)) = self.under_way.take() else { return };
        if object.is_phased() {
            self.own.phased.add(write);
        } else {
            self.own.add(object, Again { last: write, others_end: None, others_unknown: false });
        }
    }
}

impl Drop for OwnWrites {
    fn drop(&mut self) {
        self.note();
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Phased { puts, put, deletes, deleted } = self.own.phased;
        all.phased.puts += puts;
        all.phased.put += put;
        all.phased.deletes += deletes;
        all.phased.deleted += deleted;
        for (object, again) in self.own.again.drain() {
            all.add(object, again);
        }
    }
}

impl Writes {
    fn add(&mut self, object: Object, more: Again) {
        self.again.entry(object).and_modify(|known| *known = known.with(more)).or_insert(more);
    }
}

impl Phased {
    fn add(&mut self, write: Write) {
        let good = u64::from(write.end.is_some());
        let (all, answered) = match write.is_put {
            true => (&mut self.puts, &mut self.put),
            false => (&mut self.deletes, &mut self.deleted),
        };
        *all += 1;
        *answered += good;
    }

    /// How many must be there at least, and can be at most. A PUT without an answer may take effect after a DELETE.
    fn range(&self) -> (u64, u64) {
        let unknown = self.puts - self.put;
        (self.put.saturating_sub(self.deletes), (self.puts.saturating_sub(self.deleted) + unknown).min(self.puts))
    }
}

impl Again {
    fn with(self, other: Self) -> Self {
        let (later, earlier) = if other.last.start >= self.last.start { (other, self) } else { (self, other) };
        Self {
            last: later.last,
            others_end: later.others_end.max(earlier.others_end).max(earlier.last.end),
            others_unknown: later.others_unknown || earlier.others_unknown || earlier.last.end.is_none(),
        }
    }

    /// Whether it must be there; `None` when that is not known.
    fn must_be(&self) -> Option<bool> {
        let alone = !self.others_unknown && self.others_end.is_none_or(|end| end <= self.last.start);
        (alone && self.last.end.is_some()).then_some(self.last.is_put)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_write_tells_what_is_left_unless_another_may_have_come_after_it() {
        let origin = Instant::now();
        let at = |ms: u64| origin + Duration::from_millis(ms);
        let write = |is_put, start, end: Option<u64>| Again {
            last: Write { is_put, start: at(start), end: end.map(at) },
            others_end: None,
            others_unknown: false,
        };
        let (put, delete) = (true, false);
        for (writes, expect) in [
            (vec![write(put, 0, Some(2))], Some(true)),
            (vec![write(put, 0, None)], None),
            (vec![write(put, 0, Some(2)), write(delete, 3, Some(5))], Some(false)),
            (vec![write(put, 0, Some(4)), write(delete, 3, Some(5))], None),
            (vec![write(put, 0, None), write(delete, 3, Some(5))], None),
            (vec![write(put, 0, Some(4)), write(delete, 3, Some(5)), write(put, 6, Some(7))], Some(true)),
            (vec![write(put, 0, None), write(delete, 3, Some(5)), write(put, 6, Some(7))], None),
            (vec![write(put, 0, Some(2)), write(delete, 3, None)], None),
        ] {
            let in_order = writes.iter().copied().reduce(Again::with).expect("writes");
            let backwards = writes.iter().rev().copied().reduce(Again::with).expect("writes");
            assert_eq!((in_order.must_be(), backwards.must_be()), (expect, expect), "{writes:?}");
        }
    }

    #[test]
    fn objects_of_phases_are_counted() {
        for (puts, put, deletes, deleted, expect) in [
            (10, 10, 0, 0, (10, 10)),
            (10, 10, 10, 10, (0, 0)),
            (10, 8, 0, 0, (8, 10)),
            (10, 8, 10, 10, (0, 2)),
            (10, 10, 4, 3, (6, 7)),
        ] {
            assert_eq!(Phased { puts, put, deletes, deleted }.range(), expect);
        }
    }
}
