//! The plan as a Mermaid flowchart, as pages of documentation and code forges draw them.
//!
//! Ids are the program's own; what people named stands in quoted labels only.

use std::fmt::Write as _;

use event::topic::{DLQ, ENRICHED, LATE, RAW, SESSIONS};

use super::{Enricher, Expect, File, Plan, Topic};
use crate::config::units::show_duration;

/// Ends with a newline.
pub fn mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart LR\n");
    let mut chart = Chart { out: &mut out, indent: 2, edges: Vec::new() };
    chart.open("sources", "sources");
    for (n, source) in plan.sources.iter().enumerate() {
        let mut label = vec![source.name.clone(), format!("{}, preset {}", source.kind, source.preset)];
        label.extend(source.file.as_ref().map(file));
        chart.node(&format!("s{n}"), Shape::Box, &label);
    }
    chart.close();
    for topic in &plan.topics {
        chart.node(&id(topic), Shape::Store, &[topic.name.to_owned(), kept(topic)]);
    }
    chart.open("stage", "enrich");
    for (n, enricher) in plan.stage.enrichers.iter().enumerate() {
        chart.node(&format!("e{n}"), Shape::Box, &label(enricher, plan));
    }
    chart.close();
    if let Some(sessions) = &plan.sessions {
        let rules = format!("ends with {}", sessions.rules.join(", or "));
        chart.node("sessions", Shape::Box, &["sessions".to_owned(), rules]);
    }
    let mut readers = vec!["readers".to_owned()];
    readers.extend(plan.output.clone());
    readers.extend(plan.port.as_ref().map(|port| format!("http://{port}")));
    chart.node("readers", Shape::Box, &readers);

    let of = |topic: event::TopicId| format!("t_{}", topic.name());
    chart.edge("sources", None, &of(RAW));
    chart.edge("sources", Some("refused"), &of(DLQ));
    chart.edge(&of(RAW), None, "stage");
    chart.edge("stage", None, &of(ENRICHED));
    chart.edge("stage", Some("set aside"), &of(DLQ));
    chart.edge(&of(ENRICHED), None, "readers");
    if plan.sessions.is_some() {
        chart.edge(&of(ENRICHED), None, "sessions");
        chart.edge("sessions", None, &of(SESSIONS));
        chart.edge("sessions", Some("too late"), &of(LATE));
        chart.edge("sessions", Some("set aside"), &of(DLQ));
    }
    for (n, enricher) in plan.stage.enrichers.iter().enumerate() {
        let writers = plan.stage.enrichers.iter().enumerate().filter(|(_, w)| enricher.after.contains(&w.name));
        for (from, _) in writers {
            chart.edge(&format!("e{from}"), None, &format!("e{n}"));
        }
    }
    for edge in std::mem::take(&mut chart.edges) {
        let _ = writeln!(out, "  {edge}");
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Box,
    /// What is kept.
    Store,
}

struct Chart<'o> {
    out: &'o mut String,
    indent: usize,
    /// Behind all nodes: an edge would declare one where it stands, also outside its group.
    edges: Vec<String>,
}

impl Chart<'_> {
    fn open(&mut self, id: &str, title: &str) {
        let _ = writeln!(self.out, "  subgraph {id}[\"{}\"]", escaped(title));
        self.indent += 2;
    }

    fn close(&mut self) {
        self.out.push_str("  end\n");
        self.indent -= 2;
    }

    fn node(&mut self, id: &str, shape: Shape, lines: &[String]) {
        let label: Vec<String> = lines.iter().map(|l| escaped(l)).collect();
        let label = label.join("<br/>");
        let _ = match shape {
            Shape::Box => writeln!(self.out, "{:1$}{id}[\"{label}\"]", "", self.indent),
            Shape::Store => writeln!(self.out, "{:1$}{id}[(\"{label}\")]", "", self.indent),
        };
    }

    fn edge(&mut self, from: &str, label: Option<&str>, to: &str) {
        self.edges.push(match label {
            None => format!("{from} --> {to}"),
            Some(label) => format!("{from} -. \"{}\" .-> {to}", escaped(label)),
        });
    }
}

fn id(topic: &Topic) -> String {
    format!("t_{}", topic.name)
}

fn kept(topic: &Topic) -> String {
    format!("{} partitions, kept {}", topic.partitions, show_duration(topic.keep))
}

fn label(enricher: &Enricher, plan: &Plan) -> Vec<String> {
    let mut lines = vec![enricher.name.clone()];
    if let (Some(round), 2..) = (enricher.round, plan.stage.rounds) {
        lines[0] = format!("{} (round {round})", enricher.name);
    }
    lines.push(match enricher.reads.is_empty() {
        true => enricher.writes.clone(),
        false => format!("{} → {}", enricher.reads.join(", "), enricher.writes),
    });
    lines.extend(enricher.lookup.as_ref().and_then(|l| l.when.as_ref()).map(|when| format!("when {when}")));
    if let Some((lookup, remote)) = enricher.lookup.as_ref().and_then(|l| Some((l, l.remote.as_ref()?))) {
        lines.push(format!("{}: {}", lookup.kind, remote.place));
        let deadline = plan.stage.deadline.map(|d| format!(", within {}", show_duration(d))).unwrap_or_default();
        lines.push(format!("cached {}{deadline}", show_duration(remote.cache.ttl)));
    }
    lines.extend(enricher.files.iter().map(file));
    let remote = enricher.lookup.as_ref().is_some_and(|l| l.remote.is_some());
    let nothing = !remote && enricher.files.iter().all(|f| !f.there);
    lines.extend(enricher.expect.iter().filter(|_| nothing).map(Expect::to_string));
    lines
}

fn file(file: &File) -> String {
    let name = file.path.file_name().unwrap_or(file.path.as_os_str()).to_string_lossy();
    if file.there { name.into_owned() } else { format!("{name}: NOT THERE") }
}

/// A text as a part of a quoted label: what means something to Mermaid or to HTML is written as Mermaid's entities.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("#quot;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            // A backtick begins Markdown, `%%{` a directive.
            '#' | '`' | '\\' | '%' => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
