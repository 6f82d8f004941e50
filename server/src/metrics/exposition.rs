//! The text format in which Prometheus reads metrics, version 0.0.4.

use std::fmt::{Display, Write};

use super::histogram::{BOUNDS, HistogramCounts};

/// A page of metrics that is being written.
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

/// The kind of a family of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only rises, and begins at 0 with the process.
    Counter,
    Gauge,
    Histogram,
}

/// Names and values of labels.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family. Its samples follow.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing into memory does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample of the family that was begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            self.0.push('{');
            for (index, (label, text)) in labels.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(self.0, "{comma}{label}=\"");
                self.push_escaped(text);
                self.0.push('"');
            }
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A family with one sample without labels.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of a histogram. The bounds are cumulative.
    pub(crate) fn histogram(&mut self, name: &str, label: (&str, &str), counts: &HistogramCounts) {
        let bucket = format!("{name}_bucket");
        let mut up_to = 0;
        for ((_, bound), count) in BOUNDS.iter().zip(&counts.counts) {
            up_to += count;
            self.sample(&bucket, &[label, ("le", bound)], up_to);
        }
        self.sample(&bucket, &[label, ("le", "+Inf")], counts.all());
        self.sample(&format!("{name}_sum"), &[label], counts.seconds);
        self.sample(&format!("{name}_count"), &[label], counts.all());
    }

    /// The page.
    pub(crate) fn into_text(self) -> String {
        self.0
    }

    fn push_escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.0.push_str(r"\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str(r"\n"),
                other => self.0.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::Histogram;
    use super::*;

    #[test]
    fn a_page_has_families_with_their_samples_and_escapes_names() {
        let mut page = Exposition::default();
        page.single("up", Kind::Gauge, "Whether it is there.", 1);
        page.family("seen_total", Kind::Counter, "What was seen.");
        page.sample("seen_total", &[("a", "x\"\\\n"), ("b", "é")], 7);
        assert_eq!(
            page.into_text(),
            "# HELP up Whether it is there.\n# TYPE up gauge\nup 1\n\
             # HELP seen_total What was seen.\n# TYPE seen_total counter\n\
             seen_total{a=\"x\\\"\\\\\\n\",b=\"é\"} 7\n"
        );
    }

    #[test]
    fn the_buckets_of_a_histogram_are_cumulative() {
        let histogram = Histogram::default();
        for ms in [1, 2, 20_000] {
            histogram.record(Duration::from_millis(ms));
        }
        let mut page = Exposition::default();
        page.histogram("took_seconds", ("handler", "echo"), &histogram.counts());
        let text = page.into_text();
        for line in [
            "took_seconds_bucket{handler=\"echo\",le=\"0.0005\"} 0",
            "took_seconds_bucket{handler=\"echo\",le=\"0.001\"} 1",
            "took_seconds_bucket{handler=\"echo\",le=\"10\"} 2",
            "took_seconds_bucket{handler=\"echo\",le=\"+Inf\"} 3",
            "took_seconds_sum{handler=\"echo\"} 20.003",
            "took_seconds_count{handler=\"echo\"} 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
    }
}
