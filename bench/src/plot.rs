//! Figures over a logarithmic axis as SVG: lines and dots, readable on a light page and on a dark one.

use std::fmt::Write;

/// Points of one line, by rising x.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 40.0;

/// Colours that stand out from white and from black.
const COLOURS: [&str; 4] = ["#3182ce", "#dd6b20", "#38a169", "#b83280"];

/// What every picture of the bench begins with: its text is dark on a light page and light on a dark one.
pub(crate) fn head(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\"><style>text{{fill:#222}}path{{stroke:#888;fill:none}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}}}</style>\n"
    )
}

/// One picture. An x of 0 stands at the left end.
pub(crate) fn lines(title: &str, x_label: &str, series: &[Series]) -> String {
    let all: Vec<(f64, f64)> = series.iter().flat_map(|one| one.points.iter().copied()).collect();
    let positive = || all.iter().map(|(x, _)| *x).filter(|x| *x > 0.0);
    let has_zero = all.iter().any(|(x, _)| *x <= 0.0);
    let least = positive().fold(f64::INFINITY, f64::min) / if has_zero { 3.0 } else { 1.0 };
    let most = positive().fold(0.0, f64::max);
    let top = all.iter().map(|(_, y)| *y).fold(0.0, f64::max) * 1.1;
    let place_x = |x: f64| {
        let share = if most > least { (x.max(least) / least).ln() / (most / least).ln() } else { 0.5 };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let place_y = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);
    let floor = HEIGHT - BOTTOM;
    let mut out = head(WIDTH, HEIGHT);
    let _ = writeln!(
        out,
        "<text x=\"8\" y=\"18\" font-weight=\"bold\">{title}</text>\
         <path d=\"M{LEFT} {TOP}V{floor}H{}\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{x_label}</text>",
        WIDTH - RIGHT,
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 4.0,
    );
    for share in [0.0, 0.5, 1.0] {
        let (y, text) = (place_y(top * share), top * share);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{text:.2}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    let mut marks: Vec<f64> = all.iter().map(|(x, _)| *x).collect();
    marks.sort_by(f64::total_cmp);
    // Marks that would stand on one another are left out.
    marks.dedup_by(|next, kept| place_x(*next) - place_x(*kept) < 40.0);
    for x in marks {
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            place_x(x),
            floor + 18.0,
            short(x)
        );
    }
    for (number, (one, colour)) in series.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let mut way = String::new();
        for (index, (x, y)) in one.points.iter().enumerate() {
            let (x, y) = (place_x(*x), place_y(*y));
            let _ = write!(way, "{}{x:.0} {y:.0}", if index == 0 { "M" } else { "L" });
            let _ = writeln!(out, "<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let y = TOP + 18.0 * (number as f64 + 1.0);
        let _ = writeln!(
            out,
            "<path d=\"{way}\" style=\"stroke:{colour};stroke-width:2\"/>\
             <text x=\"{}\" y=\"{y}\" style=\"fill:{colour}\">{}</text>",
            WIDTH - RIGHT + 10.0,
            one.name,
        );
    }
    out + "</svg>\n"
}

/// A number as the marks of an axis show it: `50k`.
fn short(x: f64) -> String {
    match x {
        x if x >= 1e6 => format!("{:.1}M", x / 1e6),
        x if x >= 1e3 => format!("{:.0}k", x / 1e3),
        x if x.fract() == 0.0 => format!("{x:.0}"),
        x => format!("{x:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_every_point_and_a_place_for_zero() {
        let series = [Series { name: "http".to_owned(), points: vec![(0.0, 1.0), (1.0, 2.0), (1e4, 1.5)] }];
        let picture = lines("Cost", "gibibytes", &series);
        assert_eq!(picture.matches("<circle").count(), 3);
        assert!(picture.contains(">0</text>") && picture.contains(">10k</text>"), "{picture}");
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }
}
