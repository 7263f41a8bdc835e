//! Prometheus' text format, written straight into a string.
//!
//! For series that are not in the registry. A family's samples follow its header, as the format
//! wants.

use std::fmt::{Display, Write};

#[derive(Debug, Clone, Copy)]
pub(super) enum MetricType {
    Counter,
    Gauge,
}

#[derive(Debug)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Goes on behind what is written already.
    pub(super) fn appending_to(text: String) -> Self {
        Self { text }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Begins a family. Its help has no backslash and no line feed.
    pub(super) fn family(&mut self, name: &str, metric_type: MetricType, help: &str) {
        let metric_type = match metric_type {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            self.text,
            "# HELP {name} {help}\n# TYPE {name} {metric_type}"
        );
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            self.text.push(if number == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            self.escape(text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn escape(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_value_cannot_leave_its_quotes() {
        let mut exposition = Exposition::appending_to("# before\n".to_owned());
        exposition.family("a_total", MetricType::Counter, "Counts.");
        exposition.sample("a_total", &[("x", "1\"} 2\n"), ("y", "\\")], 3);
        exposition.sample("a_total", &[], 4.5);
        let expected = "# before\n# HELP a_total Counts.\n# TYPE a_total counter\na_total{x=\"1\\\"} 2\\n\",y=\"\\\\\"} 3\na_total 4.5\n";
        assert_eq!(exposition.into_text(), expected);
    }
}
