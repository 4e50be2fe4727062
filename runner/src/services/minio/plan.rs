//! What the requests of `minio_stress` are: which operation on which object.
//!
//! A name is `<kind><owner>-<number>`: `s` for phased, `p` for pooled, `n` for new and `w` for warm-up objects, the owner in
//! five and the number in ten hexadecimal digits. Owners are connections in closed loop; in open loop every object
//! belongs to owner 0.
//!
//! Of a mix, GET and LIST go to pooled objects, which are there before the load. PUT writes one of 64 new objects, and
//! DELETE removes one that was put and is still there: which, a walk through the requests of the same block of 64
//! tells, so it is a function of the place. Where there is none, the request is a PUT.

use anyhow::{Result, ensure};

use super::{MinioStressSettings, Operation};
use crate::load::{Draw, LoadJob, Place, mix};

const DRAW_OPERATION: u64 = 0x6f62_6a65;

/// Requests of one block, and new objects of one owner.
const BLOCK: u64 = 64;
/// Warm-up objects of one owner in front of phases.
const WARMUP_OBJECTS: u64 = 16;
const MOST_OWNERS: u32 = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
enum Mode {
    /// So many requests in each of these phases.
    Phases { objects: u64, phases: Vec<Operation> },
    /// Each request is drawn: upper ends of the parts of PUT, GET, LIST and DELETE in 0–1. So many pooled objects.
    Mix { ends: [f64; 4], objects: u64 },
}

/// An object without the run's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    pub kind: u8,
    pub owner: u32,
    pub number: u64,
}

impl Object {
    pub fn name(self) -> String {
        format!("{}-{:010x}", Self::prefix(self.kind, self.owner), self.number)
    }

    /// The object of that name, if it is one.
    pub fn of_name(name: &str) -> Option<Self> {
        let (own, number) = name.split_once('-')?;
        let kind = *own.as_bytes().first().filter(|kind| b"spnw".contains(kind))?;
        let owner = u32::from_str_radix(own.get(1..)?, 16).ok()?;
        let object = Self { kind, owner, number: u64::from_str_radix(number, 16).ok()? };
        (object.name() == name).then_some(object)
    }

    pub fn is_phased(self) -> bool {
        self.kind == b's'
    }

    pub fn is_pooled(self) -> bool {
        self.kind == b'p'
    }

    /// What the names of all objects of that kind and owner begin with.
    pub fn prefix(kind: u8, owner: u32) -> String {
        format!("{}{owner:05x}", char::from(kind))
    }

    /// A number that no other object has.
    pub fn identity(self) -> u64 {
        mix(u64::from(self.kind) << 56 ^ u64::from(self.owner) << 32 ^ mix(self.number))
    }
}

/// What one request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Put(Object),
    Get(Object),
    Delete(Object),
    /// The first page of this owner's objects, of which there are so many.
    List {
        kind: u8,
        owner: u32,
        objects: u64,
    },
}

impl Request {
    pub fn operation(self) -> Operation {
        match self {
            Self::Put(_) => Operation::Put,
            Self::Get(_) => Operation::Get,
            Self::List { .. } => Operation::List,
            Self::Delete(_) => Operation::Delete,
        }
    }
}

/// What no single setting can tell.
pub fn check(settings: &MinioStressSettings) -> Result<()> {
    let connections = u64::from(settings.concurrent_requests.max(1));
    ensure!(
        settings.num_objects.is_multiple_of(connections),
        "{connections} connections cannot share the {} of `num_objects` evenly: make it a multiple of {connections}",
        settings.num_objects
    );
    let phases = &settings.phases;
    ensure!(phases.first() == Some(&Operation::Put), "the first of `phases` must be `put`: it makes the objects");
    let early = phases.iter().position(|phase| *phase == Operation::Delete).filter(|at| at + 1 < phases.len());
    ensure!(early.is_none(), "`delete` must be the last of `phases`: nothing is left after it");
    if let Some(part) = settings.multipart_part_size_bytes {
        let parts = settings.object_size_bytes.div_ceil(part);
        ensure!(parts <= 10_000, "an object has at most 10000 parts, not {parts}: make the parts larger");
    }
    if let Some(mix) = &settings.operation_mix {
        shares(mix)?;
    }
    Ok(())
}

/// Upper ends of the parts of PUT, GET, LIST and DELETE.
fn shares(mix: &str) -> Result<[f64; 4]> {
    let shares: Vec<f64> = mix.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let total: f64 = shares.iter().sum();
    ensure!(
        shares.len() <= 4 && total > 0.0 && shares.iter().all(|share| *share >= 0.0),
        "operation_mix must be the shares of PUT, GET, LIST and DELETE, such as `50:50`, not `{mix}`"
    );
    ensure!(
        shares.get(3).is_none_or(|delete| *delete <= shares[0]),
        "operation_mix: more DELETEs than PUTs would find nothing to delete in `{mix}`"
    );
    let mut sum = 0.0;
    Ok(std::array::from_fn(|place| {
        sum += shares.get(place).unwrap_or(&0.0);
        sum / total
    }))
}

/// The requests of one load.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    mode: Mode,
    pub owners: u32,
    closed: bool,
}

impl Plan {
    pub fn new(job: &LoadJob, settings: &MinioStressSettings) -> Result<Self> {
        check(settings)?;
        let spec = &job.spec;
        let closed = spec.arrival.is_closed();
        let owners = if closed { spec.clients } else { 1 };
        ensure!(owners <= MOST_OWNERS, "minio_stress can tell {MOST_OWNERS} connections apart, not {owners}");
        let share = settings.num_objects / u64::from(settings.concurrent_requests.max(1));
        let pooled = share * u64::from(spec.clients / owners);
        let mode = match (&settings.operation_mix, spec.stop.duration_s) {
            (Some(mix), _) => Mode::Mix { ends: shares(mix)?, objects: pooled },
            (None, None) if closed => Mode::Phases { objects: share, phases: settings.phases.clone() },
            // A schedule does not wait for the phase before, and time would cut the phases anywhere.
            (None, _) => Mode::Mix { ends: shares("50:50")?, objects: pooled },
        };
        Ok(Self { seed: spec.seed, mode, owners, closed })
    }

    /// Objects that must be there before the load.
    pub fn pooled(&self) -> impl Iterator<Item = Object> + use<> {
        let objects = if let Mode::Mix { objects, .. } = self.mode { objects } else { 0 };
        let owners = self.owners;
        (0..owners).flat_map(move |owner| (0..objects).map(move |number| Object { kind: b'p', owner, number }))
    }

    /// What a request is: a function of the seed and its place.
    pub fn request(&self, place: Place) -> Request {
        let Place { sequence: owner, index, warmup } = place;
        match &self.mode {
            Mode::Phases { .. } if warmup => {
                let object = Object { kind: b'w', owner, number: index / 2 % WARMUP_OBJECTS };
                if index.is_multiple_of(2) { Request::Put(object) } else { Request::Get(object) }
            }
            Mode::Phases { objects, phases } => {
                let object = Object { kind: b's', owner, number: index % objects };
                match phases[(index / objects) as usize % phases.len()] {
                    Operation::Put => Request::Put(object),
                    Operation::Get => Request::Get(object),
                    Operation::Delete => Request::Delete(object),
                    Operation::List => Request::List { kind: b's', owner, objects: *objects },
                }
            }
            Mode::Mix { ends, objects } => self.drawn(place, ends, *objects),
        }
    }

    fn drawn(&self, place: Place, ends: &[f64; 4], objects: u64) -> Request {
        let Place { sequence: owner, index, warmup } = place;
        // In open loop warm-up is the head of the one sequence, and the first block that is measured may begin in it.
        let warmup = warmup && self.closed;
        let draw = |index: u64| {
            let mut draw = Draw::new(&[self.seed, DRAW_OPERATION, u64::from(owner), index, u64::from(warmup)]);
            let part = draw.uniform();
            (ends.iter().position(|end| part < *end).unwrap_or(0), draw)
        };
        let kind = if warmup { b'w' } else { b'n' };
        let new = |index: u64| Object { kind, owner, number: index % BLOCK };
        let (operation, mut own) = draw(index);
        match operation {
            1 => Request::Get(Object { kind: b'p', owner, number: own.below(objects) }),
            2 => Request::List { kind: b'p', owner, objects },
            0 => Request::Put(new(index)),
            _ => {
                let mut there: Vec<u64> = Vec::new();
                for before in index - index % BLOCK..index {
                    match draw(before).0 {
                        0 => there.push(before),
                        3 if there.pop().is_none() => there.push(before),
                        _ => {}
                    }
                }
                there.pop().map_or(Request::Put(new(index)), |put| Request::Delete(new(put)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_deleted_was_put_before_and_not_deleted_since() {
        let ends = shares("30:30:20:20").expect("shares");
        for (closed, measured_from) in [(true, None), (false, Some(100))] {
            let plan = Plan { seed: 3, mode: Mode::Mix { ends, objects: 5 }, owners: 1, closed };
            let mut there = BTreeSet::new();
            let mut deleted = 0;
            for index in 0..2000 {
                let warmup = measured_from.is_some_and(|first| index < first);
                match plan.request(Place { sequence: 0, index, warmup }) {
                    Request::Put(object) => {
                        assert_eq!(Object::of_name(&object.name()), Some(object));
                        there.insert(object.name());
                    }
                    Request::Delete(object) => {
                        assert!(there.remove(&object.name()), "{index}: {object:?} is not there");
                        deleted += 1;
                    }
                    Request::Get(object) => assert_eq!((object.kind, object.number < 5), (b'p', true)),
                    Request::List { kind, objects, .. } => assert_eq!((kind, objects), (b'p', 5)),
                }
            }
            assert!(deleted > 200, "{deleted}");
        }
    }
}
