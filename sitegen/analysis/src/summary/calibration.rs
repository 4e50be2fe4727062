//! The load generator's own error at a benchmark's event rate, from its calibration.
//!
//! Between two calibrated rates the errors are interpolated linearly in the rate; beyond them the nearest rung stands.
//! A rung in which the load generator or its server was saturated is left out: by Little's law its errors are the number of
//! clients over the rate, whatever the load generator's exactness. What any client waits for on the way over loopback is
//! no error: it is measured beside, and subtracted.

use archive::{Calibration, CalibrationError, CalibrationKind, CalibrationRung, Distribution, ErrorFigures, Summary};

/// Errors below these cannot be told from none, where what threads on both sides take to wake up is part of them: a real
/// service's take it too.
const NOTABLE_S: [f64; 2] = [2.5e-4, 2.5e-3];
/// The same where that was measured beside, and subtracted.
const NOTABLE_BEYOND_LOOPBACK_S: [f64; 2] = [2e-5, 2e-4];
/// Values that support a p99: ten lie beyond it.
const SUPPORTS_P99: u64 = 1000;
/// A rate so near to a calibrated one counts as calibrated.
const NEAR: f64 = 1.25;

/// `None` for a window without events, and when every rung was saturated.
pub fn at_the_rate_of(calibration: &Calibration, summary: &Summary) -> Option<CalibrationError> {
    let count = |sample: &Option<Distribution>| sample.as_ref().map_or(0, |sample| sample.figures.count);
    let events = match calibration.kind {
        CalibrationKind::Timed => summary.total_requests,
        CalibrationKind::Streaming => count(&summary.ttft_s) + count(&summary.itl_s),
    };
    if events == 0 || summary.test_duration_s <= 0.0 {
        return None;
    }
    let event_rate = events as f64 / summary.test_duration_s;
    let mut rungs: Vec<&CalibrationRung> = calibration.rungs.iter().filter(|rung| !rung.saturated).collect();
    let left_out = calibration.rungs.len() - rungs.len();
    rungs.sort_by(|a, b| a.event_rate.total_cmp(&b.event_rate));
    let above = rungs.iter().position(|rung| rung.event_rate >= event_rate).unwrap_or(rungs.len());
    let upper = rungs.get(above).or(rungs.last())?;
    let lower = rungs.get(above.saturating_sub(1))?;
    let span = upper.event_rate - lower.event_rate;
    let weight = if span > 0.0 { ((event_rate - lower.event_rate) / span).clamp(0.0, 1.0) } else { 1.0 };
    let between = |of: fn(&CalibrationRung) -> Option<ErrorFigures>| {
        let (lower, upper) = (of(lower)?, of(upper)?);
        let mix = |a: f64, b: f64| a + (b - a) * weight;
        Some(ErrorFigures {
            count: lower.count.min(upper.count),
            p50: mix(lower.p50, upper.p50),
            p99: mix(lower.p99, upper.p99),
        })
    };
    let (latency_s, ttft_s, itl_s) = (between(|r| r.latency_s), between(|r| r.ttft_s), between(|r| r.itl_s));
    let loopback_s = between(|r| r.loopback_s);
    // In open loop the answer's own time is what the error is part of.
    let service = summary.service_time_s.as_ref().unwrap_or(&summary.latency_s);
    let pairs = [
        (latency_s, loopback_s, Some(service)),
        (ttft_s, None, summary.ttft_s.as_ref()),
        (itl_s, None, summary.itl_s.as_ref()),
    ];
    let largest = |floor: bool| {
        let shares = pairs.iter().filter_map(|(error, loopback, measured)| {
            Some(share(error.as_ref()?, loopback.as_ref(), (*measured)?, floor))
        });
        shares.fold(0.0, f64::max)
    };
    let within = rungs.first()?.event_rate <= event_rate * NEAR && event_rate <= rungs.last()?.event_rate * NEAR;
    let (share, judged_share) = (largest(false), Some(largest(true)));
    Some(CalibrationError { event_rate, left_out, within, latency_s, ttft_s, itl_s, loopback_s, share, judged_share })
}

/// The larger of the two percentiles' shares; with `floor` an error that cannot be told from none is none.
fn share(error: &ErrorFigures, loopback: Option<&ErrorFigures>, measured: &Distribution, floor: bool) -> f64 {
    let figures = &measured.figures;
    let supported = loopback.is_some_and(|loopback| loopback.count.min(error.count) >= SUPPORTS_P99);
    let notable = match loopback {
        // A p99 of few values is the worst moment of a machine, on either side.
        Some(_) if !supported => [NOTABLE_BEYOND_LOOPBACK_S[0], NOTABLE_S[1]],
        Some(_) => NOTABLE_BEYOND_LOOPBACK_S,
        None => NOTABLE_S,
    };
    let base = loopback.map_or([0.0, 0.0], |loopback| [loopback.p50, loopback.p99]);
    let of = |place: usize, error: f64, measured: Option<f64>| {
        let beyond = (error - base[place]).max(0.0);
        match measured {
            Some(measured) if measured > 0.0 && !(floor && beyond < notable[place]) => beyond / measured,
            _ => 0.0,
        }
    };
    of(0, error.p50, figures.p50).max(of(1, error.p99, figures.p99))
}

#[cfg(test)]
mod tests {
    use archive::{Percentiles, Timestamp};

    use super::*;

    fn rung(event_rate: f64, p50: f64, p99: f64) -> CalibrationRung {
        let latency_s = Some(ErrorFigures { count: 100, p50, p99 });
        CalibrationRung { event_rate, latency_s, ..CalibrationRung::default() }
    }

    #[test]
    fn errors_are_those_at_the_rate_of_the_benchmark() {
        let calibration = Calibration {
            kind: CalibrationKind::Timed,
            at: Timestamp::now(),
            clients: 4,
            threads: 1,
            cached: false,
            rungs: vec![rung(1000.0, 4e-4, 4e-3), rung(3000.0, 8e-4, 8e-3)],
        };
        for (requests, p50, within, share) in [
            // Half of the median of 1.2 ms; the p99 of 6 ms is a sixth of 36 ms.
            (4000, 6e-4, true, 0.5),
            (7000, 8e-4, true, 8e-4 / 12e-4),
            (20_000, 8e-4, false, 8e-4 / 12e-4),
            (10, 4e-4, false, 4e-4 / 12e-4),
        ] {
            let figures = Percentiles { count: requests, p50: Some(12e-4), p99: Some(36e-3), ..Percentiles::default() };
            let latency_s = Distribution { figures, histogram: None };
            let summary = Summary { total_requests: requests, test_duration_s: 2.0, latency_s, ..Summary::default() };
            let found = at_the_rate_of(&calibration, &summary).expect("events");
            let error = found.latency_s.expect("an error");
            assert!((error.p50 - p50).abs() < 1e-12 && (found.share - share).abs() < 1e-9, "{found:?}");
            assert_eq!(found.judged(), found.share);
            assert_eq!((found.within, found.event_rate), (within, requests as f64 / 2.0));
        }
        assert_eq!(at_the_rate_of(&calibration, &Summary::default()), None);
        // The answers of 64 clients as fast as they come: 64 / 40000 s each, whoever asks.
        let saturated = CalibrationRung { saturated: true, ..rung(40_000.0, 16e-4, 20e-4) };
        let figures = Percentiles { count: 9, p50: Some(16e-4), p99: Some(3e-3), ..Percentiles::default() };
        let latency_s = Distribution { figures, histogram: None };
        let fast = Summary { total_requests: 40_000, test_duration_s: 1.0, latency_s, ..Summary::default() };
        let with = |rungs: Vec<CalibrationRung>| Calibration { rungs, ..calibration.clone() };
        let found = at_the_rate_of(&with(vec![rung(6000.0, 1e-4, 1e-3), saturated.clone()]), &fast).expect("a rung");
        assert_eq!((found.judged_share, found.left_out, found.within), (Some(0.0), 1, false));
        assert_eq!(at_the_rate_of(&with(vec![saturated.clone(), saturated]), &fast), None);
    }

    #[test]
    fn the_true_share_is_told_and_what_cannot_be_told_from_none_is_not_judged() {
        let figures = |count, p50, p99| ErrorFigures { count, p50, p99 };
        // What redis-server may come to on this machine: 80 µs at p50, 1 ms at p99.
        for (count, error, loopback, share, judged) in [
            // Without the way over loopback: small errors are the waking up of threads, or are not told from it.
            (9, [2e-4, 9e-4], None, 2.5, 0.0),
            (9, [2.6e-4, 9e-4], None, 3.25, 3.25),
            // With it: what the load generator adds.
            (2000, [7e-5, 4e-4], Some([6.5e-5, 5e-4]), 0.0625, 0.0),
            (2000, [1.2e-4, 4e-4], Some([6e-5, 5e-4]), 0.75, 0.75),
            (2000, [5e-5, 9e-4], Some([6e-5, 5e-4]), 0.4, 0.4),
            (2000, [5e-5, 6e-4], Some([6e-5, 5e-4]), 0.1, 0.0),
            // A p99 of few values is judged by the large floor.
            (900, [5e-5, 9e-4], Some([6e-5, 5e-4]), 0.4, 0.0),
            (900, [5e-5, 3.1e-3], Some([6e-5, 5e-4]), 2.6, 2.6),
        ] {
            let rung = CalibrationRung {
                event_rate: 1000.0,
                latency_s: Some(figures(count, error[0], error[1])),
                loopback_s: loopback.map(|[p50, p99]| figures(2000, p50, p99)),
                ..CalibrationRung::default()
            };
            let calibration = Calibration {
                kind: CalibrationKind::Timed,
                at: Timestamp::now(),
                clients: 1,
                threads: 1,
                cached: false,
                rungs: vec![rung],
            };
            let measured = Percentiles { count: 1000, p50: Some(8e-5), p99: Some(1e-3), ..Percentiles::default() };
            let latency_s = Distribution { figures: measured, histogram: None };
            let summary = Summary { total_requests: 1000, test_duration_s: 1.0, latency_s, ..Summary::default() };
            let found = at_the_rate_of(&calibration, &summary).expect("events");
            assert!((found.share - share).abs() < 1e-9 && (found.judged() - judged).abs() < 1e-9, "{found:?}");
        }
    }
}
