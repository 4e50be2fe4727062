//! Figures of a service's Prometheus exposition: gauges and counters, summed over their labels.

use std::collections::BTreeMap;

/// Name in the archive, the metric's names in order of preference, and what to multiply with.
pub type Figure = (&'static str, &'static [&'static str], f64);

/// The figures that the text has. Values of one metric with several labels are added; `NaN` is no value.
pub fn pick(text: &str, figures: &[Figure]) -> BTreeMap<String, f64> {
    let sum = |metric: &str| {
        let values = text.lines().filter_map(|line| value_of(line, metric)).filter(|value| value.is_finite());
        values.fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
    };
    figures
        .iter()
        .filter_map(|(name, metrics, factor)| {
            let value = metrics.iter().find_map(|metric| sum(metric))?;
            Some(((*name).to_owned(), value * factor))
        })
        .collect()
}

/// The value of a line `metric{labels} value [timestamp]`, when it is that metric's.
fn value_of(line: &str, metric: &str) -> Option<f64> {
    let rest = line.strip_prefix(metric)?;
    let rest = match rest.strip_prefix('{') {
        // A label's value may contain a brace; the last one ends the labels.
        Some(labels) => labels.rsplit_once('}')?.1,
        None => rest.strip_prefix([' ', '\t'])?,
    };
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_sums() {
        let text = "# HELP vllm:num_requests_waiting Waiting.\n# TYPE vllm:num_requests_waiting gauge\n\
            vllm:num_requests_waiting{model_name=\"a}b\",engine=\"0\"} 3.0\n\
            vllm:num_requests_waiting{model_name=\"a}b\",engine=\"1\"} 4.0 1772366405000\n\
            vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 99.0\n\
            vllm:gpu_cache_usage_perc 0.25\nbroken NaN\n";
        let figures: &[Figure] = &[
            ("waiting", &["vllm:num_requests_waiting"], 1.0),
            ("cache", &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"], 100.0),
            ("broken", &["broken"], 1.0),
            ("absent", &["absent"], 1.0),
        ];
        let expected = [("cache".to_owned(), 25.0), ("waiting".to_owned(), 7.0)];
        assert_eq!(pick(text, figures), BTreeMap::from(expected));
    }
}
