//! The rows of the table, and how many of them a select must find.
//!
//! Row `i` has data `data_<i>`, value `i mod 1000` and payload `payload_text_for_record_<i>`.

/// Different values.
pub const VALUES: u64 = 1000;
/// Width of a range scan, both ends included.
pub const RANGE: u64 = 100;
/// Range scans begin below this.
pub const RANGE_STARTS: u64 = 500;

/// What a select asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// How many rows have this value.
    Lookup(u64),
    /// How many have one from this on, [`RANGE`] values.
    Range(u64),
    /// How many have a number that begins with these digits.
    Like(u64),
    /// Which values have most rows.
    Aggregation,
}

impl Select {
    /// The `number`-th of a sequence that takes the kinds in turn.
    pub fn of(number: u64) -> Self {
        match number % 4 {
            0 => Self::Lookup(number % VALUES),
            1 => Self::Range(number % RANGE_STARTS),
            2 => Self::Like(number % (VALUES - 1) + 1),
            _ => Self::Aggregation,
        }
    }
}

/// How many rows there are by value and by leading digits.
#[derive(Clone, Debug)]
pub struct Counts {
    by_value: Vec<u64>,
    by_digits: Vec<u64>,
}

impl Counts {
    /// Of rows 1 to `last`.
    pub fn up_to(last: u64) -> Self {
        let by_value = (0..VALUES).map(|value| last / VALUES + u64::from((1..=last % VALUES).contains(&value)));
        let by_digits = (0..VALUES).map(|digits| {
            let (mut count, mut low, mut width) = (0, digits, 1);
            while digits > 0 && low <= last {
                count += width.min(last - low + 1);
                (low, width) = (low * 10, width * 10);
            }
            count
        });
        Self { by_value: by_value.collect(), by_digits: by_digits.collect() }
    }

    pub fn add(&mut self, row: u64) {
        self.by_value[(row % VALUES) as usize] += 1;
        let mut digits = row;
        while digits > 0 {
            if digits < VALUES {
                self.by_digits[digits as usize] += 1;
            }
            digits /= 10;
        }
    }

    /// Rows that a select which counts finds.
    pub fn found(&self, select: Select) -> u64 {
        match select {
            Select::Lookup(value) => self.by_value[value as usize],
            Select::Range(start) => self.by_value[start as usize..(start + RANGE) as usize].iter().sum(),
            Select::Like(digits) => self.by_digits[digits as usize],
            Select::Aggregation => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_closed_form_are_those_by_counting() {
        let mut counted = Counts::up_to(0);
        let mut selects: Vec<Select> = (0..4000).map(Select::of).collect();
        selects.retain(|select| *select != Select::Aggregation);
        assert_eq!(counted.found(Select::Range(0)), 0);
        for last in 1..=12_345 {
            counted.add(last);
            if [1, 9, 10, 99, 100, 999, 1000, 1001, 5000, 12_345].contains(&last) {
                let closed = Counts::up_to(last);
                for select in &selects {
                    assert_eq!(closed.found(*select), counted.found(*select), "{select:?} of {last}");
                }
            }
        }
        assert_eq!(counted.found(Select::Lookup(7)), 13);
        assert_eq!(counted.found(Select::Like(123)), 1 + 10 + 46);
    }
}
