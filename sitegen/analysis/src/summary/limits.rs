//! Limits of an SLO: which figure each speaks of, whether the benchmark met it, and whether one request did.

use std::collections::BTreeMap;

use archive::{Request, SloOutcome};

use super::{RecordError, sample::nanoseconds};
use crate::slo::{Detail, Sense};

/// What a limit is put on. Stored names: `success_rate` (percent, at least), `error_rate` (percent, at most),
/// `requests_per_second`, `tokens_per_second` and `recall` (at least), and `<quantity>_<figure>_s` (seconds, at most) with the
/// quantities `latency`, `service_time`, `ttft`, `tpot`, `itl`, `ttfb` and the figures `avg`, `min`, `max` and `pNN` (`p50`,
/// `p99`, `p99.9`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    SuccessRate,
    ErrorRate,
    Throughput,
    TokensPerSecond,
    Recall,
    Time { quantity: Quantity, figure: Figure },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    Latency,
    ServiceTime,
    Ttft,
    Tpot,
    Itl,
    Ttfb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Average,
    Minimum,
    Maximum,
    Percentile { permille: u32 },
}

impl Limit {
    /// What a stored metric name means; `None` when it means nothing here.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "success_rate" => return Some(Self::SuccessRate),
            "error_rate" => return Some(Self::ErrorRate),
            "requests_per_second" => return Some(Self::Throughput),
            "tokens_per_second" => return Some(Self::TokensPerSecond),
            "recall" => return Some(Self::Recall),
            _ => {}
        }
        let (quantity, figure) = name.strip_suffix("_s")?.rsplit_once('_')?;
        let quantity = match quantity {
            "latency" => Quantity::Latency,
            "service_time" => Quantity::ServiceTime,
            "ttft" => Quantity::Ttft,
            "tpot" => Quantity::Tpot,
            "itl" => Quantity::Itl,
            "ttfb" => Quantity::Ttfb,
            _ => return None,
        };
        let figure = match figure {
            "avg" => Figure::Average,
            "min" => Figure::Minimum,
            "max" => Figure::Maximum,
            _ => Figure::Percentile { permille: permille(figure.strip_prefix('p')?)? },
        };
        Some(Self::Time { quantity, figure })
    }

    pub fn sense(self) -> Sense {
        match self {
            Self::Time { .. } | Self::ErrorRate => Sense::AtMost,
            Self::SuccessRate | Self::Throughput | Self::TokensPerSecond | Self::Recall => Sense::AtLeast,
        }
    }

    /// Whether `value` keeps the limit.
    pub fn keeps(self, value: f64, limit: f64) -> bool {
        match self.sense() {
            Sense::AtMost => value <= limit,
            Sense::AtLeast => value >= limit,
        }
    }

    /// What a client must tell apart for it; `None`: every client measures it.
    pub fn needs(self) -> Option<Detail> {
        match self {
            Self::TokensPerSecond => Some(Detail::Tokens),
            Self::Recall => Some(Detail::Recall),
            Self::Time { quantity, .. } => match quantity {
                Quantity::Ttft | Quantity::Tpot | Quantity::Itl => Some(Detail::Tokens),
                Quantity::Ttfb => Some(Detail::FirstByte),
                Quantity::Latency | Quantity::ServiceTime => None,
            },
            Self::SuccessRate | Self::ErrorRate | Self::Throughput => None,
        }
    }
}

/// `99` → 990, `99.9` → 999; above 0, below 100 and with at most one decimal.
fn permille(percent: &str) -> Option<u32> {
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(tenth) || tenth.len() > 1 {
        return None;
    }
    let permille = whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?;
    (permille > 0).then_some(permille)
}

/// The limits of one benchmark.
pub struct Limits(Vec<(String, Limit, f64)>);

impl Limits {
    pub fn parse(slo: &BTreeMap<String, f64>) -> Result<Self, RecordError> {
        let parse = |(name, limit): (&String, &f64)| match Limit::parse(name) {
            Some(kind) => Ok((name.clone(), kind, *limit)),
            None => Err(RecordError::UnknownLimit(name.clone())),
        };
        slo.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    fn times(&self) -> impl Iterator<Item = (Quantity, Figure, f64)> {
        self.0.iter().filter_map(|(_, kind, limit)| match kind {
            Limit::Time { quantity, figure } => Some((*quantity, *figure, *limit)),
            _ => None,
        })
    }

    /// The quantities with a limit that a single request can meet.
    pub fn quantities(&self) -> impl Iterator<Item = Quantity> {
        self.times().map(|(quantity, ..)| quantity)
    }

    pub fn permilles(&self) -> impl Iterator<Item = u32> {
        self.times().filter_map(|(_, figure, _)| match figure {
            Figure::Percentile { permille } => Some(permille),
            _ => None,
        })
    }

    /// Whether one successful request kept every limit on a time. A request with too few tokens to have a TPOT or
    /// an ITL keeps a limit on it; one that should have a TTFT and has none does not.
    pub fn met_by(&self, request: &Request) -> bool {
        self.times().all(|(quantity, figure, limit)| {
            // Whole nanoseconds, as in the sample: a difference of two offsets is off by less.
            let keeps = |value: f64| nanoseconds(value) <= nanoseconds(limit);
            match quantity {
                Quantity::Latency => keeps(request.latency_s),
                Quantity::ServiceTime => keeps(request.service_time()),
                Quantity::Ttft => request.ttft_s.is_some_and(keeps),
                Quantity::Ttfb => request.ttfb_s.is_none_or(keeps),
                Quantity::Tpot => request.tpot().is_none_or(keeps),
                Quantity::Itl => gap_figure(&request.chunk_gaps_us, figure).is_none_or(keeps),
            }
        })
    }

    /// One outcome a limit, in the order of their names. `value_of` gives the figure that a limit speaks of.
    pub fn outcomes(&self, value_of: impl Fn(Limit) -> Option<f64>) -> Vec<SloOutcome> {
        let outcome = |(metric, kind, limit): &(String, Limit, f64)| {
            let value = value_of(*kind);
            SloOutcome {
                metric: metric.clone(),
                limit: *limit,
                value,
                met: value.map(|value| kind.keeps(value, *limit)),
            }
        };
        self.0.iter().map(outcome).collect()
    }
}

/// The same figure as over all gaps, over those of one request; in seconds.
fn gap_figure(gaps_us: &[u32], figure: Figure) -> Option<f64> {
    let (min, max) = (*gaps_us.iter().min()?, *gaps_us.iter().max()?);
    let us = match figure {
        Figure::Average => gaps_us.iter().map(|gap| f64::from(*gap)).sum::<f64>() / gaps_us.len() as f64,
        Figure::Minimum => f64::from(min),
        Figure::Maximum => f64::from(max),
        Figure::Percentile { permille } => {
            let mut sorted = gaps_us.to_vec();
            sorted.sort_unstable();
            let scaled = (sorted.len() - 1) * permille as usize;
            let (low, high) = (f64::from(sorted[scaled / 1000]), f64::from(sorted[scaled.div_ceil(1000)]));
            low + (high - low) * (scaled % 1000) as f64 / 1000.0
        }
    };
    Some(us / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whole_or_not_at_all() {
        let time = |quantity, permille| Some(Limit::Time { quantity, figure: Figure::Percentile { permille } });
        for (name, expected) in [
            ("latency_p99_s", time(Quantity::Latency, 990)),
            ("ttft_p99.9_s", time(Quantity::Ttft, 999)),
            ("service_time_p5_s", time(Quantity::ServiceTime, 50)),
            ("tpot_avg_s", Some(Limit::Time { quantity: Quantity::Tpot, figure: Figure::Average })),
            ("success_rate", Some(Limit::SuccessRate)),
            ("requests_per_second", Some(Limit::Throughput)),
            ("latency_p0_s", None),
            ("latency_p99", None),
            ("latency_p_s", None),
            ("latency_p100_s", None),
            ("latency_p9.99_s", None),
            ("latency_s", None),
            ("speed_p99_s", None),
        ] {
            assert_eq!(Limit::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn one_request_against_the_limits() {
        let limits = |pairs: &[(&str, f64)]| {
            let slo = pairs.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect();
            Limits::parse(&slo).expect("known names")
        };
        let request = Request {
            latency_s: 1.0,
            success: true,
            ttft_s: Some(0.2),
            output_tokens: Some(5),
            chunk_gaps_us: vec![100_000, 200_000, 100_000, 400_000],
            ..Request::default()
        };
        for (slo, met) in [
            (&[][..], true),
            (&[("latency_p99_s", 1.0)], true),
            (&[("latency_p99_s", 0.99)], false),
            (&[("ttft_p95_s", 0.2), ("tpot_avg_s", 0.2)], true),
            (&[("tpot_avg_s", 0.19)], false),
            (&[("itl_avg_s", 0.2)], true),
            (&[("itl_p50_s", 0.15)], true),
            (&[("itl_max_s", 0.399)], false),
            (&[("success_rate", 99.0)], true),
        ] {
            assert_eq!(limits(slo).met_by(&request), met, "{slo:?}");
        }
        let bare = Request { latency_s: 1.0, success: true, ..Request::default() };
        assert!(limits(&[("tpot_avg_s", 0.1), ("itl_p99_s", 0.1)]).met_by(&bare));
        assert!(!limits(&[("ttft_p99_s", 0.1)]).met_by(&bare));
    }
}
