//! The figures of one benchmark, from its summary and its samples: the same numbers as its page has.

use analysis::{Assessment, ResourceSeries, SeriesUnit, assessment::FigureInterval, ordered, proportion_interval};
use archive::{Distribution, ResourceSample, Role, Summary};

use super::Plot;
use crate::{
    load::Loaded,
    pages::benchmarks,
    plot::{
        BAD, BLUE, Bar, Figure, GREEN, KNEE, Layer, MUTED, Mark, ORANGE, PURPLE, Panel, Row, SERIES,
        scale::{Axis, Scale},
    },
    units::{self, TimeUnit},
};

const SINGLE: f64 = 300.0;
const DOUBLE: f64 = 180.0;

/// Rows of a figure with categories; the rest is summed up.
const MOST_ROWS: usize = 12;

/// Panels of what the service says of itself; the rest is counted.
const MOST_PANELS: usize = 6;

/// Bars of the histogram.
const BARS: usize = 60;

/// All figures that the benchmark's data allow, in the order of the report.
pub fn all(benchmark: &Loaded, assessment: &Assessment, service: &[ResourceSeries]) -> Vec<Plot> {
    let Some(summary) = &benchmark.summary else { return Vec::new() };
    let context = Context { benchmark, summary, assessment };
    let figures: [(&'static str, Option<Figure>); 10] = [
        ("latency_percentiles", context.percentiles()),
        ("throughput_timeline", context.timeline()),
        ("latency_histogram", context.histogram()),
        ("latency_ecdf", context.ecdf()),
        ("success_rate", context.success()),
        ("error_distribution", context.errors()),
        ("service_metrics", context.service()),
        ("operations", context.operations()),
        ("resources", context.resources()),
        ("service_figures", context.service_figures(service)),
    ];
    figures.into_iter().filter_map(|(name, figure)| Some(Plot { name, figure: figure? })).collect()
}

struct Context<'a> {
    benchmark: &'a Loaded,
    summary: &'a Summary,
    assessment: &'a Assessment,
}

impl Context<'_> {
    fn subtitle(&self) -> String {
        let run = &self.benchmark.run;
        let point = benchmarks::point(self.benchmark);
        let parts = [run.benchmark_id.to_string(), run.campaign.name.clone(), run.service.kind.clone(), point];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    }

    /// Says first when the figures are no measurement.
    fn caption(&self, text: String) -> String {
        match self.assessment.standing {
            "valid" => text,
            standing => format!("Not valid ({standing}). {text}"),
        }
    }

    fn requests(&self) -> String {
        let summary = self.summary;
        let failed = match summary.failed_requests {
            0 => String::new(),
            failed => format!("; {} failed requests are in no duration", units::count(failed)),
        };
        format!("n = {} successful requests{failed}", units::count(summary.latency_s.figures.count))
    }

    fn percentiles(&self) -> Option<Figure> {
        let of: Vec<&FigureInterval> =
            self.assessment.percentiles.iter().filter(|figure| figure.quantity == "latency").collect();
        if of.is_empty() {
            return None;
        }
        let unit = TimeUnit::for_largest(of.iter().map(|figure| figure.value).fold(0.0, f64::max));
        let bar = |(i, figure): (usize, &&FigureInterval)| Bar {
            from: i as f64 - 0.3,
            to: i as f64 + 0.3,
            height: unit.of(figure.value),
            interval: figure
                .interval
                .and_then(|interval| Some((unit.of(interval.low?), interval.high.map(|high| unit.of(high))))),
            label: units::number(unit.of(figure.value)),
            faded: !figure.supported,
        };
        let bars: Vec<Bar> = of.iter().enumerate().map(bar).collect();
        let tops = bars.iter().map(|bar| bar.interval.and_then(|(_, high)| high).unwrap_or(bar.height).max(bar.height));
        let mut limits = self.limits("latency", unit);
        let tallest = tops.clone().fold(0.0, f64::max);
        // A limit far above the data would press it flat: the caption has it.
        let far: Vec<String> =
            limits.iter().filter(|(limit, _)| *limit > 2.5 * tallest).map(|(_, label)| label.clone()).collect();
        limits.retain(|(limit, _)| *limit <= 2.5 * tallest);
        let scale = Scale::from_zero(tops.map(|top| top * 1.08).chain(limits.iter().map(|(limit, _)| *limit)));
        let p99 = of.iter().find(|figure| figure.figure == "p99");
        let p50 = of.first()?;
        let title = match p99 {
            Some(p99) if p99.supported => format!(
                "Half of the requests took at most {}, 99 of 100 at most {}",
                units::duration(p50.value),
                units::duration(p99.value)
            ),
            _ => format!("Half of the requests took at most {}", units::duration(p50.value)),
        };
        let faded = bars.iter().any(|bar| bar.faded);
        let open = bars.iter().any(|bar| bar.interval.is_some_and(|(_, high)| high.is_none()));
        let mut caption = format!("{}. Whiskers: 95 % interval between order statistics", self.requests());
        caption += if open { ", open upwards where the sample gives no upper bound" } else { "" };
        if !far.is_empty() {
            caption += &format!("; far above the axis: {}", far.join(", "));
        }
        caption += if faded { ". Pale: fewer than ten values lie beyond the percentile." } else { "." };
        Some(Figure {
            title,
            subtitle: self.subtitle(),
            caption: self.caption(caption),
            x: Axis {
                name: "percentile of the latency".into(),
                scale: Scale::Category(of.iter().map(|figure| figure.figure.to_owned()).collect()),
            },
            panels: vec![Panel {
                y: Axis { name: format!("latency, {}", unit.name), scale },
                height: SINGLE,
                layers: vec![Layer::Bars { name: "latency".into(), color: BLUE, bars }],
                marks: limits.into_iter().map(|(y, label)| Mark::Horizontal { y, label, color: BAD }).collect(),
            }],
        })
    }

    /// Limits on a quantity's durations, in the unit, and in words.
    fn limits(&self, quantity: &str, unit: TimeUnit) -> Vec<(f64, String)> {
        let of = self.assessment.slo.iter().filter(|check| {
            check.metric.strip_prefix(quantity).is_some_and(|rest| rest.starts_with('_') && rest.ends_with("_s"))
        });
        of.map(|check| {
            (
                unit.of(check.limit),
                format!("limit: {}", crate::model::metric::limit_in_words(&check.metric, check.limit)),
            )
        })
        .collect()
    }

    fn time_axis(&self) -> Axis {
        let timeline = &self.summary.timeline;
        let end = timeline.start_s.last().map_or(0.0, |start| start + timeline.bucket_s);
        let end = end.max(self.summary.window_s[1]).max(1.0);
        Axis { name: "seconds from the start of the load".into(), scale: Scale::Linear { min: 0.0, max: end } }
    }

    fn outside(&self, axis: &Axis, labelled: bool) -> Vec<Mark> {
        let Scale::Linear { max, .. } = axis.scale else { return Vec::new() };
        let [start, end] = self.summary.window_s;
        let mark = |from, to, label: &str| Mark::Range {
            from,
            to,
            label: if labelled { label.to_owned() } else { String::new() },
            color: MUTED,
        };
        let mut marks = Vec::new();
        if start > 0.0 {
            marks.push(mark(0.0, start, "warm-up"));
        }
        if end > start && end + 0.05 < max {
            marks.push(mark(end, max, "drain"));
        }
        marks
    }

    fn timeline(&self) -> Option<Figure> {
        let summary = self.summary;
        let timeline = &summary.timeline;
        if timeline.completed.is_empty() {
            return None;
        }
        let width = timeline.bucket_s.max(1e-9);
        let loaded_until = if summary.window_s[1] > summary.window_s[0] { summary.window_s[1] } else { f64::INFINITY };
        let middle = |i: usize| timeline.start_s.get(i).map_or(0.0, |start| start + width / 2.0);
        // A second in which the load ended was not loaded throughout: it has a count, but no rate.
        let rate = |i: usize, count: u64| {
            let whole = timeline.start_s.get(i).is_some_and(|start| start + width <= loaded_until + 1e-6);
            whole.then(|| count as f64 / width)
        };
        let failed = |i: usize| timeline.failed.get(i).copied().unwrap_or(0);
        let buckets = 0..timeline.completed.len();
        let markers = timeline.completed.len() <= 40;
        let succeeded: Vec<_> =
            buckets.clone().map(|i| (middle(i), rate(i, timeline.completed[i].saturating_sub(failed(i))))).collect();
        let mut layers = vec![line("successful", BLUE, succeeded.clone(), markers)];
        if summary.failed_requests > 0 {
            let points = buckets.clone().map(|i| (middle(i), rate(i, failed(i)))).collect();
            layers.push(line("failed", BAD, points, markers));
        }
        let x = self.time_axis();
        let mean = summary.throughput()?;
        let rates: Vec<f64> = layers.iter().flat_map(values).chain([mean]).collect();
        let mut marks = self.outside(&x, true);
        marks.push(Mark::Horizontal { y: mean, label: format!("mean {}", units::number(mean)), color: GREEN });

        let largest = timeline.latency_p99_s.iter().flatten().copied().fold(0.0, f64::max);
        let unit = TimeUnit::for_largest(largest);
        let times = |name: &str, color, values: &[Option<f64>]| {
            let points = values.iter().enumerate().map(|(i, value)| (middle(i), value.map(|value| unit.of(value))));
            line(name, color, points.collect(), markers)
        };
        let latency = vec![
            times("p50 latency", ORANGE, &timeline.latency_p50_s),
            times("p99 latency", PURPLE, &timeline.latency_p99_s),
        ];
        let y = Scale::for_durations(latency.iter().flat_map(values).filter(|y| *y > 0.0).collect::<Vec<_>>());
        Some(Figure {
            title: format!("{} requests succeeded in a second of the window on average", units::number(mean)),
            subtitle: self.subtitle(),
            caption: self.caption(format!(
                "{} buckets of {}; {}. A bucket in which the load ended has a latency and no rate.",
                timeline.completed.len(),
                units::duration(timeline.bucket_s),
                self.requests()
            )),
            panels: vec![
                Panel {
                    y: Axis { name: "requests/s".into(), scale: Scale::from_zero(rates) },
                    height: DOUBLE,
                    layers,
                    marks,
                },
                Panel {
                    y: Axis { name: format!("latency, {}", unit.name), scale: y },
                    height: DOUBLE,
                    layers: latency,
                    marks: self.outside(&x, false),
                },
            ],
            x,
        })
    }

    /// Lines at the median and beyond, and at the limits.
    fn place_marks(&self, unit: TimeUnit) -> Vec<Mark> {
        let colors = [GREEN, PURPLE, ORANGE, KNEE, MUTED];
        let of = self.assessment.percentiles.iter().filter(|figure| figure.quantity == "latency" && figure.supported);
        let shown = of.zip(colors).filter(|(figure, _)| figure.figure != "p90");
        let mark = |(figure, color): (&FigureInterval, _)| Mark::Vertical {
            x: unit.of(figure.value),
            label: format!("{} {}", figure.figure, units::duration(figure.value)),
            color,
        };
        shown.map(mark).collect()
    }

    fn latency_axis(&self, distribution: &Distribution) -> Option<(Axis, TimeUnit)> {
        let figures = &distribution.figures;
        let (min, max) = (figures.min?, figures.max?);
        let unit = TimeUnit::for_largest(figures.p99.unwrap_or(max));
        let (low, high) = (unit.of(min), unit.of(max));
        let scale = match low > 0.0 && high > 8.0 * low {
            true => Scale::Log { min: low / 1.05, max: high * 1.05, ticks: Vec::new() },
            false => {
                let room = ((high - low) * 0.04).max(high * 0.02).max(1e-9);
                Scale::Linear { min: (low - room).max(0.0), max: high + room }
            }
        };
        Some((Axis { name: format!("latency, {}", unit.name), scale }, unit))
    }

    fn histogram(&self) -> Option<Figure> {
        let distribution = &self.summary.latency_s;
        let values = ordered(distribution.histogram.as_ref()?)?;
        let (x, unit) = self.latency_axis(distribution)?;
        let (low, high) = match &x.scale {
            Scale::Linear { min, max } | Scale::Log { min, max, .. } => (*min, *max),
            Scale::Category(_) => return None,
        };
        let is_log = matches!(x.scale, Scale::Log { .. });
        let bars = BARS.min((values.count() as f64).sqrt().ceil().max(8.0) as usize * 2);
        let edge = |i: usize| match is_log {
            true => low * (high / low).powf(i as f64 / bars as f64),
            false => low + (high - low) * i as f64 / bars as f64,
        };
        let mut counts = vec![0_u64; bars];
        let mut before = 0;
        for (until, lowest, highest) in values.buckets() {
            let place = x.scale.place(unit.of((lowest + highest) / 2.0));
            counts[((place * bars as f64) as usize).min(bars - 1)] += until - before;
            before = *until;
        }
        let total = values.count() as f64;
        let share = |count: u64| count as f64 / total * 100.0;
        let tallest = counts.iter().copied().map(share).fold(0.0, f64::max);
        let bar =
            |(i, count): (usize, &u64)| Bar { from: edge(i), to: edge(i + 1), height: share(*count), ..Bar::default() };
        let bars: Vec<Bar> = counts.iter().enumerate().map(bar).filter(|bar| bar.height > 0.0).collect();
        let largest = bars.iter().max_by(|a, b| a.height.total_cmp(&b.height))?;
        let title = format!(
            "The most frequent latencies lie between {} and {} {}",
            units::number(largest.from),
            units::number(largest.to),
            unit.name
        );
        let scale_words = if is_log { "equally wide on a logarithmic axis" } else { "equally wide" };
        Some(Figure {
            title,
            subtitle: self.subtitle(),
            caption: self.caption(format!(
                "{}. {} intervals, {scale_words}. Lines: percentiles that the sample supports.",
                self.requests(),
                counts.len()
            )),
            panels: vec![Panel {
                y: Axis { name: "share of requests, %".into(), scale: Scale::from_zero([tallest * 1.15]) },
                height: SINGLE,
                layers: vec![Layer::Bars { name: "requests".into(), color: BLUE, bars }],
                marks: self.place_marks(unit),
            }],
            x,
        })
    }

    fn ecdf(&self) -> Option<Figure> {
        let distribution = &self.summary.latency_s;
        let values = ordered(distribution.histogram.as_ref()?)?;
        let (x, unit) = self.latency_axis(distribution)?;
        let total = values.count() as f64;
        // Dvoretzky, Kiefer, Wolfowitz with the constant of Massart (1990).
        let half = ((2.0_f64 / 0.05).ln() / (2.0 * total)).sqrt() * 100.0;
        let mut points: Vec<(f64, f64)> = Vec::new();
        let step = values.buckets().len().div_ceil(1500).max(1);
        let first = values.buckets().first()?.1;
        points.push((unit.of(first), 0.0));
        for (place, (until, _, highest)) in values.buckets().iter().enumerate() {
            if place % step == 0 || place + 1 == values.buckets().len() {
                let reached = *until as f64 / total * 100.0;
                if step == 1 {
                    let before = points.last().map_or(0.0, |(_, y)| *y);
                    points.push((unit.of(*highest), before));
                }
                points.push((unit.of(*highest), reached));
            }
        }
        let band = points.iter().map(|(x, y)| (*x, (y - half).max(0.0), (y + half).min(100.0))).collect();
        let curve = points.iter().map(|(x, y)| (*x, Some(*y))).collect();
        let figures = &distribution.figures;
        let title = match figures.p90 {
            Some(p90) => format!("Nine requests in ten took at most {}", units::duration(p90)),
            None => "Distribution of the latency".to_owned(),
        };
        let mut marks = Vec::new();
        for (limit, label) in self.limits("latency", unit) {
            if let Scale::Linear { max, .. } | Scale::Log { max, .. } = &x.scale
                && limit <= *max
            {
                marks.push(Mark::Vertical { x: limit, label, color: BAD });
            }
        }
        Some(Figure {
            title,
            subtitle: self.subtitle(),
            caption: self.caption(format!(
                "{}. Band: 95 % confidence band of the whole curve (Dvoretzky–Kiefer–Wolfowitz), ±{} points.",
                self.requests(),
                units::number(half)
            )),
            panels: vec![Panel {
                y: Axis {
                    name: "requests that took at most so long, %".into(),
                    scale: Scale::Linear { min: 0.0, max: 100.0 },
                },
                height: SINGLE,
                layers: vec![
                    Layer::Band { name: "95 % band".into(), color: BLUE, points: band },
                    line("share", BLUE, curve, false),
                ],
                marks,
            }],
            x,
        })
    }

    fn success(&self) -> Option<Figure> {
        let summary = self.summary;
        if summary.total_requests == 0 {
            return None;
        }
        let mut named: Vec<(String, u64, u64)> =
            vec![("all requests".to_owned(), summary.successful_requests, summary.total_requests)];
        if summary.operations.len() > 1 {
            let mut operations: Vec<_> = summary.operations.iter().collect();
            operations.sort_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(b.0)));
            let shown = operations.iter().take(MOST_ROWS - 1);
            named.extend(shown.map(|(name, op)| ((*name).clone(), op.count.saturating_sub(op.failed), op.count)));
        }
        let row = |(i, (_, hits, count)): (usize, &(String, u64, u64))| {
            let interval = proportion_interval(*hits, *count);
            let percent = |share: f64| share * 100.0;
            let value = percent(*hits as f64 / (*count).max(1) as f64);
            Row {
                category: i as f64,
                value,
                interval: interval.low.map(percent).zip(interval.high.map(percent)),
                label: format!("{} %  ({} of {})", units::percent(value), units::count(*hits), units::count(*count)),
                dot: true,
            }
        };
        let rows: Vec<Row> = named.iter().enumerate().map(row).collect();
        let lowest = rows.iter().map(|row| row.interval.map_or(row.value, |(low, _)| low)).fold(100.0, f64::min);
        let floor = [99.9, 99.0, 95.0, 90.0, 80.0, 50.0, 0.0].into_iter().find(|floor| *floor < lowest).unwrap_or(0.0);
        let marks = self.assessment.slo.iter().filter(|check| check.metric == "success_rate" && check.limit >= floor);
        let marks = marks.map(|check| Mark::Vertical {
            x: check.limit,
            label: format!("limit {} %", units::percent(check.limit)),
            color: BAD,
        });
        Some(Figure {
            title: format!("{} % of the requests succeeded", units::percent(summary.success_rate?)),
            subtitle: self.subtitle(),
            caption: self.caption(format!(
                "n = {} requests. Whiskers: exact 95 % interval (Clopper–Pearson){}.",
                units::count(summary.total_requests),
                if floor > 0.0 { "; the axis does not begin at zero" } else { "" }
            )),
            x: Axis { name: "success rate, %".into(), scale: Scale::Linear { min: floor, max: 100.0 } },
            panels: vec![Panel {
                y: Axis {
                    name: String::new(),
                    scale: Scale::Category(named.iter().map(|(name, ..)| name.clone()).collect()),
                },
                height: 40.0 + 34.0 * named.len() as f64,
                layers: vec![Layer::Rows { name: "success rate".into(), color: BLUE, rows }],
                marks: marks.collect(),
            }],
        })
    }

    fn errors(&self) -> Option<Figure> {
        let summary = self.summary;
        let mut errors: Vec<(&str, u64)> =
            summary.error_summary.iter().map(|(text, count)| (text.as_str(), *count)).collect();
        if errors.is_empty() {
            return None;
        }
        errors.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let kinds = errors.len();
        if kinds > MOST_ROWS {
            let rest: u64 = errors[MOST_ROWS - 1..].iter().map(|(_, count)| count).sum();
            errors.truncate(MOST_ROWS - 1);
            errors.push(("all others", rest));
        }
        let largest = errors.iter().map(|(_, count)| *count).max()? as f64;
        let failed = summary.failed_requests.max(1) as f64;
        let row = |(i, (_, count)): (usize, &(&str, u64))| Row {
            category: i as f64,
            value: *count as f64,
            label: format!("{}  ({} %)", units::count(*count), units::percent(*count as f64 / failed * 100.0)),
            ..Row::default()
        };
        Some(Figure {
            title: format!("{} requests failed, for {}", units::count(summary.failed_requests), crate::pages::plural(kinds, "reason")),
            subtitle: self.subtitle(),
            caption: self.caption(format!(
                "n = {} failed of {} requests in the window. The most frequent first; texts as the service or the client gave them.",
                units::count(summary.failed_requests),
                units::count(summary.total_requests)
            )),
            x: Axis { name: "requests".into(), scale: Scale::from_zero([largest]) },
            panels: vec![Panel {
                y: Axis {
                    name: String::new(),
                    scale: Scale::Category(errors.iter().map(|(text, _)| (*text).to_owned()).collect()),
                },
                height: 30.0 + 30.0 * errors.len() as f64,
                layers: vec![Layer::Rows {
                    name: "errors".into(),
                    color: ORANGE,
                    rows: errors.iter().enumerate().map(row).collect(),
                }],
                marks: Vec::new(),
            }],
        })
    }

    /// What language models have beside their latency: TTFT, TPOT and ITL.
    fn service(&self) -> Option<Figure> {
        let names = [("ttft", "TTFT"), ("tpot", "TPOT"), ("itl", "ITL")];
        let of = |quantity: &str, figure: &str| {
            self.assessment.percentiles.iter().find(|known| known.quantity == quantity && known.figure == figure)
        };
        let present: Vec<_> = names.into_iter().filter(|(quantity, _)| of(quantity, "p50").is_some()).collect();
        if present.is_empty() {
            return None;
        }
        let all = present.iter().flat_map(|(quantity, _)| ["p50", "p95", "p99"].map(|figure| of(quantity, figure)));
        let values: Vec<f64> = all.flatten().map(|figure| figure.value).filter(|value| *value > 0.0).collect();
        let unit = TimeUnit::for_largest(values.iter().copied().fold(0.0, f64::max));
        let scale = Scale::for_durations(values.iter().map(|value| unit.of(*value)).collect::<Vec<_>>());
        let layer = |(place, (figure, color)): (usize, (&str, _))| {
            let bar = |(i, (quantity, _)): (usize, &(&str, &str))| {
                let known = of(quantity, figure)?;
                let from = i as f64 - 0.39 + place as f64 * 0.26;
                Some(Bar {
                    from: from + 0.02,
                    to: from + 0.24,
                    height: unit.of(known.value),
                    interval: known
                        .interval
                        .and_then(|interval| Some((unit.of(interval.low?), interval.high.map(|high| unit.of(high))))),
                    label: units::number(unit.of(known.value)),
                    faded: !known.supported,
                })
            };
            Layer::Bars { name: figure.to_owned(), color, bars: present.iter().enumerate().filter_map(bar).collect() }
        };
        let layers = [("p50", BLUE), ("p95", GREEN), ("p99", ORANGE)].into_iter().enumerate().map(layer).collect();
        let scale = match scale {
            Scale::Linear { max, .. } => Scale::from_zero([max * 1.12]),
            Scale::Log { min, max, ticks } => Scale::Log { min, max: max * 2.0, ticks },
            other => other,
        };
        let summary = self.summary;
        let tokens = summary.tokens_per_second;
        let title = match (tokens, of("ttft", "p50")) {
            (Some(tokens), Some(ttft)) => format!(
                "{} output tokens/s; half of the answers began within {}",
                units::number(tokens),
                units::duration(ttft.value)
            ),
            _ => "Times within an answer".to_owned(),
        };
        let counts: Vec<String> = present
            .iter()
            .filter_map(|(quantity, name)| Some(format!("{} {name}", units::count(of(quantity, "p50")?.samples))))
            .collect();
        Some(Figure {
            title,
            subtitle: self.subtitle(),
            caption: self.caption(format!(
                "n: {}. TTFT: first token with content; TPOT: mean time per further token of a request; ITL: gap between \
                 chunks. Whiskers: 95 % intervals, open where the sample gives no upper bound; pale: not supported by \
                 the sample.",
                counts.join(", ")
            )),
            x: Axis {
                name: "part of an answer".into(),
                scale: Scale::Category(present.iter().map(|(_, name)| (*name).to_owned()).collect()),
            },
            panels: vec![Panel {
                y: Axis { name: format!("duration, {}", unit.name), scale },
                height: SINGLE,
                layers,
                marks: Vec::new(),
            }],
        })
    }

    fn operations(&self) -> Option<Figure> {
        let mut operations: Vec<_> = self.summary.operations.iter().filter(|(_, op)| op.latency_s.count > 0).collect();
        if operations.len() < 2 {
            return None;
        }
        operations.sort_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(b.0)));
        let left_out = operations.len().saturating_sub(MOST_ROWS);
        operations.truncate(MOST_ROWS);
        let largest = operations.iter().filter_map(|(_, op)| op.latency_s.p99).fold(0.0, f64::max);
        let unit = TimeUnit::for_largest(largest);
        let names = Scale::Category(operations.iter().map(|(name, _)| (*name).clone()).collect());
        let points = |of: fn(&archive::Percentiles) -> Option<f64>| -> Vec<(f64, f64)> {
            let values =
                operations.iter().enumerate().filter_map(|(i, (_, op))| Some((unit.of(of(&op.latency_s)?), i as f64)));
            values.collect()
        };
        let layers: Vec<Layer> =
            [("p50", BLUE, points(|f| f.p50)), ("p95", GREEN, points(|f| f.p95)), ("p99", ORANGE, points(|f| f.p99))]
                .map(|(name, color, points): (&str, _, Vec<(f64, f64)>)| {
                    let row = |(value, category)| Row { category, value, dot: true, ..Row::default() };
                    Layer::Rows { name: name.into(), color, rows: points.into_iter().map(row).collect() }
                })
                .into();
        let all: Vec<f64> = layers
            .iter()
            .flat_map(|layer| match layer {
                Layer::Rows { rows, .. } => rows.iter().map(|row| row.value).collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        let slowest = operations
            .iter()
            .max_by(|a, b| a.1.latency_s.p99.unwrap_or(0.0).total_cmp(&b.1.latency_s.p99.unwrap_or(0.0)))?;
        let rest = if left_out > 0 { format!(" {left_out} rarer operations are left out.") } else { String::new() };
        Some(Figure {
            title: format!(
                "{} has the longest tail: p99 {}",
                slowest.0,
                slowest.1.latency_s.p99.map_or_else(|| "–".to_owned(), units::duration)
            ),
            subtitle: self.subtitle(),
            caption: self.caption(format!("{}, by operation; the most frequent first.{rest}", self.requests())),
            x: Axis { name: format!("latency, {}", unit.name), scale: Scale::for_durations(all) },
            panels: vec![Panel {
                y: Axis { name: String::new(), scale: names },
                height: 40.0 + 34.0 * operations.len() as f64,
                layers,
                marks: Vec::new(),
            }],
        })
    }

    /// What the service says of itself, a panel each.
    fn service_figures(&self, service: &[ResourceSeries]) -> Option<Figure> {
        let x = self.time_axis();
        let Scale::Linear { max, .. } = x.scale else { return None };
        let panel = |(place, one): (usize, &ResourceSeries)| {
            let inside = one.points.iter().filter(|(offset, _)| (0.0..=max).contains(offset));
            let points: Vec<_> = inside.map(|(offset, value)| (*offset, Some(*value))).collect();
            let is_share = one.unit == SeriesUnit::Percent && one.points.iter().all(|(_, value)| *value <= 100.0);
            let scale = match is_share {
                true => Scale::Linear { min: 0.0, max: 100.0 },
                false => Scale::from_zero(points.iter().filter_map(|(_, value)| *value)),
            };
            let name = if one.unit == SeriesUnit::Percent { format!("{}, %", one.name) } else { one.name.clone() };
            let markers = points.len() <= 60;
            (!points.is_empty()).then(|| Panel {
                y: Axis { name, scale },
                height: 112.0,
                layers: vec![line(&one.name, SERIES[place % SERIES.len()], points, markers)],
                marks: self.outside(&x, place == 0),
            })
        };
        let panels: Vec<Panel> = service.iter().take(MOST_PANELS).enumerate().filter_map(panel).collect();
        let mean = |one: &ResourceSeries| {
            let unit = if one.unit == SeriesUnit::Percent { " %" } else { "" };
            Some(format!("{}{unit} {}", units::number(one.mean?), one.name))
        };
        let title = match service.iter().find(|one| one.name.contains("waiting")).or(service.first()).and_then(mean) {
            Some(mean) => format!("The service says of itself: {mean} on average"),
            None => "What the service says of itself".to_owned(),
        };
        let left_out = service.len().saturating_sub(MOST_PANELS);
        let rest = if left_out > 0 { format!(" {left_out} more figures are in report.json.") } else { String::new() };
        let samples = service.iter().map(|one| one.points.len()).max()?;
        (!panels.is_empty()).then(|| Figure {
            title,
            subtitle: self.subtitle(),
            caption: self.caption(format!("n = {samples} samples, one a second, as the service gave them.{rest}")),
            x,
            panels,
        })
    }

    fn resources(&self) -> Option<Figure> {
        let x = self.time_axis();
        let Scale::Linear { max, .. } = x.scale else { return None };
        let samples: Vec<&ResourceSample> = self
            .benchmark
            .resources
            .iter()
            .filter(|sample| sample.offset_s.is_some_and(|offset| offset >= 0.0 && offset <= max))
            .collect();
        let series = |role: Role, of: &dyn Fn(&ResourceSample) -> Option<f64>| -> Vec<(f64, Option<f64>)> {
            let own = samples.iter().filter(|sample| sample.role == role);
            own.map(|sample| (sample.offset_s.unwrap_or_default(), of(sample))).collect()
        };
        let markers = samples.len() <= 60;
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let roles = [(Role::Service, "service", SERIES[0]), (Role::Client, "load generator", SERIES[1])];
        let panel = |name: &str, of: &dyn Fn(&ResourceSample) -> Option<f64>| {
            let layers: Vec<Layer> = roles
                .iter()
                .map(|(role, name, color)| line(name, *color, series(*role, of), markers))
                .filter(|layer| values(layer).next().is_some())
                .collect();
            let scale = Scale::from_zero(layers.iter().flat_map(values).collect::<Vec<_>>());
            let marks = self.outside(&x, name.starts_with("CPU"));
            Panel { y: Axis { name: name.to_owned(), scale }, height: DOUBLE - 20.0, layers, marks }
        };
        let mut cpu = panel("CPU, % of a core", &|sample| sample.process_cpu_percent);
        let core = |sample: &ResourceSample| sample.node_cpu_max_core_percent;
        let mut busiest = series(Role::Service, &core);
        if busiest.is_empty() {
            busiest = series(Role::Client, &core);
        }
        if busiest.iter().any(|(_, y)| y.is_some()) {
            let layer = Layer::Line {
                name: "busiest core of the node".into(),
                color: MUTED,
                points: busiest,
                markers: false,
                dashed: true,
            };
            cpu.layers.push(layer);
            cpu.y.scale = Scale::from_zero(cpu.layers.iter().flat_map(values).collect::<Vec<_>>());
        }
        let panels: Vec<Panel> = [cpu, panel("memory, MiB", &|sample| sample.process_rss_bytes.map(mib))]
            .into_iter()
            .filter(|panel| !panel.layers.is_empty())
            .collect();
        if panels.is_empty() {
            return None;
        }
        let [start, end] = self.summary.window_s;
        let within = samples.iter().filter(|sample| {
            sample.role == Role::Service && sample.offset_s.is_some_and(|offset| offset > start && offset <= end)
        });
        let cpu: Vec<f64> = within.filter_map(|sample| sample.process_cpu_percent).collect();
        let title = match cpu.is_empty() {
            true => "CPU and memory during the load".to_owned(),
            false => format!(
                "The service used {} % of one core on average",
                units::number(cpu.iter().sum::<f64>() / cpu.len() as f64)
            ),
        };
        Some(Figure {
            title,
            subtitle: self.subtitle(),
            caption: self.caption(format!(
                "n = {} samples, one a second and process group; CPU over the second before the sample.",
                samples.len()
            )),
            x,
            panels,
        })
    }
}

pub fn line(name: &str, color: crate::plot::canvas::Color, points: Vec<(f64, Option<f64>)>, markers: bool) -> Layer {
    Layer::Line { name: name.to_owned(), color, points, markers, dashed: false }
}

/// The values that a layer draws on y.
pub fn values(layer: &Layer) -> impl Iterator<Item = f64> + '_ {
    let points: &[(f64, Option<f64>)] = match layer {
        Layer::Line { points, .. } => points,
        _ => &[],
    };
    points.iter().filter_map(|(_, y)| *y)
}
