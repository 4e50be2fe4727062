//! The figures of a sweep: throughput, latency and success over its axis, with knee, limits and the spread of repetitions.

use analysis::slo;

use super::{Plot, Slo, figures::line};
use crate::{
    model::{
        Execution,
        metric::{Metric, Percentile, Timed, limit_in_words},
        sweep::{Axis as Swept, Point, Scale as Spacing, Series, Sweep},
    },
    pages::plural,
    plot::{
        BAD, Figure, KNEE, Layer, Mark, Panel, SERIES,
        canvas::Color,
        scale::{Axis, Scale},
    },
    units::{self, TimeUnit},
};

const SINGLE: f64 = 320.0;

/// Series with a colour of their own; more lines than that hide each other.
const MOST_SERIES: usize = 7;

/// Which of a sweep's two knees a figure shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knee {
    /// Where throughput stops growing.
    Throughput,
    /// Where the p99 of the response time starts to rise.
    Latency,
}

impl Knee {
    fn name(self) -> &'static str {
        match self {
            Self::Throughput => "knee of the throughput",
            Self::Latency => "knee of the latency",
        }
    }

    fn answer<'s>(self, series: &'s Series<'_>) -> &'s analysis::saturation::Found {
        match self {
            Self::Throughput => &series.saturation().throughput_saturation,
            Self::Latency => &series.saturation().latency_knee,
        }
    }

    /// The load, with its interval.
    fn of(self, series: &Series<'_>) -> Option<(f64, [f64; 2])> {
        let knee = self.answer(series);
        Some((knee.load?, knee.interval?))
    }
}

/// Series whose knee is marked.
const MOST_KNEES: usize = 3;

/// All figures that the sweep allows, in the order of the report.
pub fn all(execution: &Execution<'_>, title: &str, limits: &Slo) -> Vec<Plot> {
    let Some(axis) = &execution.sweep.axis else { return Vec::new() };
    let context = Context { execution, sweep: &execution.sweep, axis, title, limits };
    let p99 = Metric::Time(Timed::Latency, Percentile::P99);
    let figures = [
        ("sweep_throughput", context.throughput()),
        ("sweep_latency", context.times("latency_p99", p99, Timed::Latency)),
        ("sweep_ttft", context.times("ttft_p99", Metric::Time(Timed::Ttft, Percentile::P99), Timed::Ttft)),
        ("sweep_success", context.success()),
    ];
    figures.into_iter().filter_map(|(name, figure)| Some(Plot { name, figure: figure? })).collect()
}

struct Context<'a> {
    execution: &'a Execution<'a>,
    sweep: &'a Sweep<'a>,
    axis: &'a Swept,
    title: &'a str,
    limits: &'a Slo,
}

impl<'a> Context<'a> {
    fn x(&self) -> Axis {
        let mut places: Vec<(f64, String)> = self
            .sweep
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| (point.x, point.label.clone()))
            .collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        places.dedup_by(|a, b| a.0 == b.0);
        let (first, last) = (places.first().map_or(0.0, |place| place.0), places.last().map_or(1.0, |place| place.0));
        let scale = match self.axis.scale {
            Spacing::Category => Scale::Category(places.into_iter().map(|(_, label)| label).collect()),
            Spacing::Log2 => {
                Scale::Log { min: first / 1.12, max: last * 1.12, ticks: places.into_iter().map(|(x, _)| x).collect() }
            }
            Spacing::Linear => {
                let room = ((last - first) * 0.04).max(last.abs() * 0.02).max(1e-9);
                let min = if first <= (last - first) * 0.3 { 0.0 } else { first - room };
                Scale::Linear { min: min.min(first), max: last + room }
            }
        };
        Axis { name: self.axis.name.clone(), scale }
    }

    fn series(&self) -> impl Iterator<Item = (usize, &'a Series<'a>)> {
        self.sweep.series.iter().take(MOST_SERIES).enumerate()
    }

    fn subtitle(&self) -> String {
        let run = &self.execution.first().run;
        let version = run.service.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
        format!("{} · {}{version} on {}", self.title, run.service.kind, run.target.name)
    }

    fn caption(&self, knee: Knee) -> String {
        let points = || self.sweep.series.iter().flat_map(|series| &series.points);
        let valid: usize = points().map(|point| point.valid().count()).sum();
        let most = points().map(|point| point.valid().count()).max().unwrap_or(0);
        let mut text = format!("n = {} at {}", plural(valid, "valid benchmark"), plural(points().count(), "point"));
        text += match most {
            0 | 1 => ", one repetition each: no spread is known.",
            _ => ". Dots: repetitions; line: their median; band: their range.",
        };
        let left_out: usize = points().map(|point| point.repetitions.len() - point.valid().count()).sum();
        if left_out > 0 {
            text += &format!(" Left out: {left_out} invalid, failed or cancelled.");
        }
        let hidden = self.sweep.series.len().saturating_sub(MOST_SERIES);
        if hidden > 0 {
            text += &format!(" {hidden} more series not drawn.");
        }
        if self.marks_knees() {
            let method = analysis::KNEE_METHOD;
            match self.series().any(|(_, series)| knee.of(series).is_some()) {
                true => text += &format!(" The {}: {method}; shaded: its 95 % interval.", knee.name()),
                false => {
                    let reason = &knee.answer(&self.sweep.series[0]).reason;
                    text += &format!(" No {}: {reason} ({method}).", knee.name())
                }
            }
        }
        text
    }

    fn marks_knees(&self) -> bool {
        self.axis.is_load && self.sweep.series.len() <= MOST_KNEES
    }

    fn knees(&self, knee: Knee) -> Vec<Mark> {
        let mut marks = Vec::new();
        for (i, series) in self.series().filter(|_| self.marks_knees()) {
            let Some((load, [low, high])) = knee.of(series) else { continue };
            let color = if self.sweep.series.len() == 1 { KNEE } else { SERIES[i] };
            let label =
                format!("{} {} [{}–{}]", knee.name(), units::number(load), units::number(low), units::number(high));
            marks.push(Mark::Range { from: low, to: high, label: String::new(), color });
            marks.push(Mark::Vertical { x: load, label, color });
        }
        marks
    }

    /// Band, line and dots of a figure along a series.
    fn layers(&self, name: &str, color: Color, series: &Series<'_>, of: &dyn Fn(&Point<'_>) -> Vec<f64>) -> Vec<Layer> {
        let mut layers = Vec::new();
        let (mut band, mut medians, mut dots) = (Vec::new(), Vec::new(), Vec::new());
        for point in &series.points {
            let values = of(point);
            medians.push((point.x, analysis::median(values.clone())));
            if values.len() > 1 {
                let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), y| (a.min(*y), b.max(*y)));
                band.push((point.x, low, high));
                dots.extend(values.iter().map(|y| (point.x, *y)));
            }
        }
        if band.len() > 1 {
            layers.push(Layer::Band { name: String::new(), color, points: band });
        }
        layers.push(line(name, color, medians, true));
        layers.push(Layer::Dots { name: String::new(), color, points: dots, hollow: false });
        layers
    }

    fn of_metric(&self, metric: Metric, scale: f64) -> Vec<Layer> {
        let several = self.sweep.series.len() > 1;
        let name = |series: &Series<'_>| if several { series.label.clone() } else { "median".to_owned() };
        let layers = |(i, series): (usize, &'a Series<'a>)| {
            let of = |point: &Point<'_>| point.values(metric).into_iter().map(|y| y * scale).collect();
            self.layers(&name(series), SERIES[i], series, &of)
        };
        self.series().flat_map(layers).collect()
    }

    fn values(&self, metric: Metric, scale: f64) -> Vec<f64> {
        self.series().flat_map(|(_, series)| series.values(metric)).map(|(_, y)| y * scale).collect()
    }

    fn throughput(&self) -> Option<Figure> {
        let metric = Metric::Throughput;
        let values = self.values(metric, 1.0);
        let largest = values.iter().copied().reduce(f64::max)?;
        let mut marks = self.knees(Knee::Throughput);
        marks.extend(self.limit_marks(1.0, largest, |name| name == "requests_per_second"));
        let first = self.sweep.series.first()?;
        let peak = first.saturation().peak.as_ref()?;
        let title = match (self.sweep.series.len(), Knee::Throughput.of(first)) {
            (1, Some((load, _))) if self.axis.is_load => format!(
                "Throughput stops growing at about {} {}; the peak is {} requests/s",
                units::number(load),
                self.axis.name,
                units::number(peak.throughput)
            ),
            (1, _) => format!("Throughput peaks at {} requests/s", units::number(peak.throughput)),
            (count, _) => format!("Throughput of {} series, at most {} requests/s", count, units::number(largest)),
        };
        let mut layers = self.of_metric(metric, 1.0);
        if let Some(mean) = self.ideal() {
            layers.insert(0, mean);
        }
        Some(self.figure(
            title,
            "throughput, requests/s".into(),
            Scale::from_zero(values),
            layers,
            marks,
            Knee::Throughput,
        ))
    }

    /// Where throughput would be if every client added as much as at the smallest load; one series only.
    fn ideal(&self) -> Option<Layer> {
        let [series] = &self.sweep.series[..] else { return None };
        if !self.axis.is_load || self.axis.path.ends_with("rate") || self.axis.scale == Spacing::Category {
            return None;
        }
        let first = series.points.first()?;
        let each = first.median(Metric::Throughput)? / first.x;
        let top = self.values(Metric::Throughput, 1.0).into_iter().fold(0.0, f64::max) * 1.02;
        let last = series.points.last()?.x.min(top / each);
        // Enough points to be straight on a logarithmic axis too.
        let steps = 40;
        let points = (0..=steps).map(|i| {
            let x = first.x * (last / first.x).powf(f64::from(i) / f64::from(steps));
            (x, Some(each * x))
        });
        let name = "proportional to the load".to_owned();
        (last > first.x).then(|| Layer::Line {
            name,
            color: crate::plot::MUTED,
            points: points.collect(),
            markers: false,
            dashed: true,
        })
    }

    fn times(&self, metric_name: &str, p99: Metric, timed: Timed) -> Option<Figure> {
        let largest = self.values(p99, 1.0).into_iter().reduce(f64::max)?;
        let unit = TimeUnit::for_largest(largest);
        let scale = unit.per_second;
        let (layers, mut values) = match &self.sweep.series[..] {
            // One series: its percentiles. Several: the p99 of each.
            [series] => {
                let mut layers = Vec::new();
                let mut values = Vec::new();
                for (percentile, color) in Percentile::ALL.into_iter().zip(SERIES) {
                    let metric = Metric::Time(timed, percentile);
                    let of = |point: &Point<'_>| point.values(metric).into_iter().map(|y| y * scale).collect();
                    layers.extend(self.layers(percentile.name(), color, series, &of));
                    values.extend(self.values(metric, scale));
                }
                (layers, values)
            }
            _ => (self.of_metric(p99, scale), self.values(p99, scale)),
        };
        let prefix = metric_name.split('_').next().unwrap_or_default();
        let limits =
            self.limit_marks(scale, largest * scale * 2.0, |name| name.starts_with(prefix) && name.ends_with("_s"));
        values.retain(|value| *value > 0.0);
        values.extend(
            limits.iter().filter_map(|mark| if let Mark::Horizontal { y, .. } = mark { Some(*y) } else { None }),
        );
        // Of the other times no knee is looked for.
        let knee = if timed == Timed::Latency { Knee::Latency } else { Knee::Throughput };
        let mut marks = self.knees(knee);
        marks.extend(limits);
        let series = self.sweep.series.first()?;
        let ends =
            (series.points.iter().find_map(|p| p.median(p99)), series.points.iter().rev().find_map(|p| p.median(p99)));
        let title = match (self.sweep.series.len(), ends) {
            (1, (Some(first), Some(last))) if series.points.len() > 1 => format!(
                "p99 {} goes from {} at {} to {} at {} {}",
                timed.name(),
                units::duration(first),
                series.points[0].label,
                units::duration(last),
                series.points.last().map_or("", |point| point.label.as_str()),
                self.axis.name
            ),
            (1, _) => format!("{} of one point", timed.name()),
            _ => format!("p99 {} of {} series", timed.name(), self.sweep.series.len()),
        };
        let name = match self.sweep.series.len() {
            1 => format!("{}, {}", timed.name(), unit.name),
            _ => format!("p99 {}, {}", timed.name(), unit.name),
        };
        Some(self.figure(title, name, Scale::for_durations(values), layers, marks, knee))
    }

    fn success(&self) -> Option<Figure> {
        let of = |point: &Point<'_>| -> Vec<f64> {
            let summaries = point.repetitions.iter().filter_map(|benchmark| benchmark.summary.as_ref());
            summaries.filter_map(|summary| summary.success_rate).collect()
        };
        let all: Vec<f64> = self.series().flat_map(|(_, series)| series.points.iter().flat_map(of)).collect();
        let lowest = all.iter().copied().reduce(f64::min)?;
        let several = self.sweep.series.len() > 1;
        let layers = self.series().flat_map(|(i, series)| {
            let name = if several { series.label.as_str() } else { "median" };
            self.layers(name, SERIES[i], series, &of)
        });
        let floor =
            [99.0, 95.0, 90.0, 80.0, 50.0, 0.0].into_iter().find(|floor| *floor <= lowest - 0.05).unwrap_or(0.0);
        let marks: Vec<Mark> = self
            .limits
            .iter()
            .filter(|(metric, limit)| *metric == "success_rate" && **limit > floor)
            .map(|(metric, limit)| Mark::Horizontal { y: *limit, label: limit_in_words(metric, *limit), color: BAD })
            .collect();
        let title = match lowest >= 100.0 {
            true => "Every request of every point succeeded".to_owned(),
            false => format!("At the worst, {} % of the requests succeeded", units::percent(lowest)),
        };
        let mut figure = self.figure(
            title,
            "success rate, %".into(),
            Scale::Linear { min: floor, max: 100.0 },
            layers.collect(),
            marks,
            Knee::Throughput,
        );
        figure.caption = format!(
            "Invalid and failed benchmarks are in this figure, where they have requests.{}",
            if floor > 0.0 { " The axis does not begin at zero." } else { "" }
        );
        figure.panels[0].height = 220.0;
        Some(figure)
    }

    fn limit_marks(&self, scale: f64, highest: f64, wanted: impl Fn(&str) -> bool) -> Vec<Mark> {
        let own =
            self.limits.iter().filter(|(metric, limit)| wanted(metric) && **limit * scale <= highest.max(1e-12) * 1.5);
        own.map(|(metric, limit)| Mark::Horizontal {
            y: limit * scale,
            label: format!(
                "limit: {} {}",
                slo::metric_in_words(metric),
                crate::model::metric::value_in_words(metric, *limit)
            ),
            color: BAD,
        })
        .collect()
    }

    fn figure(
        &self,
        title: String,
        y_name: String,
        scale: Scale,
        layers: Vec<Layer>,
        marks: Vec<Mark>,
        knee: Knee,
    ) -> Figure {
        Figure {
            title,
            subtitle: self.subtitle(),
            caption: self.caption(knee),
            x: self.x(),
            panels: vec![Panel { y: Axis { name: y_name, scale }, height: SINGLE, layers, marks }],
        }
    }
}
