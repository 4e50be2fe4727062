//! The load generator's own error at a benchmark's event rate, from its calibration.
//!
//! Between two calibrated rates the errors are interpolated linearly in the rate; beyond them the nearest rung stands.
//! A rung in which the load generator or its server was saturated is left out: by Little's law its errors are the number of
//! clients over the rate, whatever the load generator's exactness.

use archive::{Calibration, CalibrationError, CalibrationKind, CalibrationRung, Distribution, ErrorFigures, Summary};

/// Errors below these count as none: what threads on both sides take to wake up, which a real service's take too.
const NOTABLE_P50_S: f64 = 2.5e-4;
const NOTABLE_P99_S: f64 = 2.5e-3;
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
    // In open loop the answer's own time is what the error is part of.
    let service = summary.service_time_s.as_ref().unwrap_or(&summary.latency_s);
    let pairs = [(latency_s, Some(service)), (ttft_s, summary.ttft_s.as_ref()), (itl_s, summary.itl_s.as_ref())];
    let share = pairs.iter().filter_map(|(error, measured)| share(error.as_ref()?, (*measured)?)).fold(0.0, f64::max);
    let within = rungs.first()?.event_rate <= event_rate * NEAR && event_rate <= rungs.last()?.event_rate * NEAR;
    Some(CalibrationError { event_rate, left_out, within, latency_s, ttft_s, itl_s, share })
}

fn share(error: &ErrorFigures, measured: &Distribution) -> Option<f64> {
    let of = |error: f64, notable: f64, measured: Option<f64>| match measured {
        Some(measured) if error >= notable && measured > 0.0 => error / measured,
        _ => 0.0,
    };
    let figures = &measured.figures;
    (figures.count > 0)
        .then(|| of(error.p50, NOTABLE_P50_S, figures.p50).max(of(error.p99, NOTABLE_P99_S, figures.p99)))
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
        assert_eq!((found.share, found.left_out, found.within), (0.0, 1, false));
        assert_eq!(at_the_rate_of(&with(vec![saturated.clone(), saturated]), &fast), None);
        let quiet = Calibration { rungs: vec![rung(1000.0, 2e-4, 2e-3)], ..calibration };
        let figures = Percentiles { count: 9, p50: Some(6e-5), p99: Some(1e-3), ..Percentiles::default() };
        let latency_s = Distribution { figures, histogram: None };
        let summary = Summary { total_requests: 9, test_duration_s: 1.0, latency_s, ..Summary::default() };
        assert_eq!(at_the_rate_of(&quiet, &summary).expect("events").share, 0.0);
    }
}
