use super::*;

/// Pixels of a PNG, three bytes each, and its width.
fn pixels(bytes: &[u8]) -> (Vec<u8>, usize) {
    let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("whole");
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    (pixels, info.width as usize)
}

fn has(pixels: &[u8], color: Color) -> bool {
    pixels.chunks_exact(3).any(|pixel| pixel == [color.0, color.1, color.2])
}

fn figure(points: Vec<(f64, f64)>) -> Figure {
    let ys: Vec<f64> = points.iter().map(|(_, y)| *y).collect();
    let last = points.iter().map(|(x, _)| *x).fold(1.0, f64::max);
    Figure {
        title: "Throughput grows to a knee".into(),
        subtitle: "made up".into(),
        caption: "n = 3 repetitions a point; the band is the 95 % interval.".into(),
        x: Axis { name: "clients".into(), scale: Scale::Linear { min: 0.0, max: last } },
        panels: vec![Panel {
            y: Axis { name: "requests/s".into(), scale: Scale::from_zero(ys) },
            height: 240.0,
            layers: vec![Layer::Line {
                name: "median".into(),
                color: BLUE,
                points: points.into_iter().map(|(x, y)| (x, Some(y))).collect(),
                markers: true,
                dashed: false,
            }],
            marks: vec![Mark::Vertical { x: last / 2.0, label: "knee".into(), color: KNEE }],
        }],
    }
}

#[test]
fn a_figure_is_a_png_with_its_data_in_it_and_the_same_bytes_every_time() {
    for count in [1_u32, 5, 40] {
        let figure = figure((1..=count).map(|i| (f64::from(i), f64::from(i * i))).collect());
        let bytes = figure.png().expect("drawn");
        assert_eq!(bytes, figure.png().expect("drawn"), "{count}");
        let (pixels, width) = pixels(&bytes);
        assert_eq!(width, 1520);
        assert!(has(&pixels, BLUE) && has(&pixels, KNEE), "{count}");
    }
}

#[test]
fn what_cannot_be_is_drawn_as_nothing() {
    for points in [vec![], vec![(f64::NAN, f64::INFINITY)], vec![(0.0, 0.0)], vec![(1e300, 1e-300)], vec![(-5.0, -5.0)]]
    {
        figure(points.clone()).png().unwrap_or_else(|err| panic!("{points:?}: {err}"));
    }
    let mut hostile = figure(vec![(1.0, 1.0)]);
    let text = format!("{}\n\u{202e}<script>{}", "W".repeat(3000), "שלום مرحبا 日本".repeat(50));
    (hostile.title, hostile.subtitle, hostile.caption) = (text.clone(), text.clone(), text.clone());
    hostile.x = Axis { name: text.clone(), scale: Scale::Category(vec![text.clone(); 40]) };
    hostile.panels[0].y.name = text.clone();
    hostile.panels[0].marks.push(Mark::Horizontal { y: 1.0, label: text, color: BAD });
    assert!(hostile.png().expect("drawn").len() > 1000);
}

#[test]
fn bars_rows_and_bands_are_drawn() {
    let mut figure = figure(vec![(1.0, 2.0)]);
    let interval = Some((1.5, None));
    figure.panels[0].layers = vec![
        Layer::Band { name: String::new(), color: GREEN, points: vec![(0.0, 0.5, 1.0), (1.0, 1.0, 2.0)] },
        Layer::Bars {
            name: "p99".into(),
            color: ORANGE,
            bars: vec![Bar { from: 0.2, to: 0.4, height: 2.0, interval, label: "2 ms".into(), faded: false }],
        },
    ];
    let rows = Layer::Rows {
        name: "errors".into(),
        color: PURPLE,
        rows: vec![Row { category: 0.0, value: 1.0, interval: Some((0.5, 1.5)), label: "1".into(), dot: false }],
    };
    let axis = Axis { name: String::new(), scale: Scale::Category(vec!["timeout".into(), "refused".into()]) };
    figure.panels.push(Panel { y: axis, height: 80.0, layers: vec![rows], marks: Vec::new() });
    let (pixels, _) = pixels(&figure.png().expect("drawn"));
    assert!(has(&pixels, ORANGE) && has(&pixels, PURPLE));
}
