//! YAML text → a tree in which every key and value knows its place and keeps its text.
//!
//! Nothing is typed here: `1.10` stays `1.10` and `02:00:00` stays a text until a schema says what it must
//! be. Tags, merge keys, directives and second documents are refused; size, depth and the expansion of
//! aliases are bounded.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, options};

use super::finding::{Findings, Span};

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Values in a document, with aliases expanded.
const MAX_NODES: usize = 100_000;
/// Levels of sections and lists inside each other, with aliases expanded.
const MAX_DEPTH: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Span,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    /// `plain`: without quotes and not a block (`|`, `>`), so it may be a number, a boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    /// In the order of the text; every key once.
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

impl Node {
    /// A section with nothing in it.
    pub fn empty_mapping(span: Span) -> Self {
        Self { span, content: Content::Mapping(Vec::new()) }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(entries) => entries,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::Sequence(items) => items,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A plain scalar that YAML reads as null: nothing at all, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entry at a dotted path, or `None` when a part of the path is not there.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let entry = self.get(first)?;
        rest.map_or(Some(entry), |rest| entry.node.find(rest))
    }

    /// Puts `node` at a dotted path; sections on the way are made where they are missing. What stood there is
    /// replaced. Errs with the path of a value on the way that is no section.
    pub fn set(&mut self, path: &str, key_span: Span, node: Node) -> Result<(), String> {
        if self.is_null() {
            self.content = Content::Mapping(Vec::new());
        }
        let Content::Mapping(entries) = &mut self.content else { return Err(String::new()) };
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let index = entries.iter().position(|entry| entry.key == first).unwrap_or_else(|| {
            entries.push(Entry { key: first.to_owned(), key_span, node: Node::empty_mapping(key_span) });
            entries.len() - 1
        });
        match rest {
            None => entries[index] = Entry { key: first.to_owned(), key_span, node },
            Some(rest) => entries[index].node.set(rest, key_span, node).map_err(|at| join(first, &at))?,
        }
        Ok(())
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let Content::Mapping(entries) = &mut self.content else { return None };
        entries.iter().position(|entry| entry.key == key).map(|index| entries.remove(index))
    }

    /// What it is, for messages: `` `x` ``, `a list`.
    pub fn describe(&self) -> String {
        match &self.content {
            _ if self.is_null() => "nothing".into(),
            Content::Scalar { text, .. } if text.is_empty() => "an empty text".into(),
            Content::Scalar { text, plain } => {
                let mut shown: String = text.chars().take(60).collect();
                if shown.len() < text.len() {
                    shown.push('…');
                }
                if *plain { format!("`{shown}`") } else { format!("the text `{shown}`") }
            }
            Content::Sequence(_) => "a list".into(),
            Content::Mapping(_) => "a section".into(),
        }
    }
}

/// `a` and `b` as the dotted path `a.b`; an empty side is left out.
pub fn join(a: &str, b: &str) -> String {
    match (a, b) {
        ("", b) => b.to_owned(),
        (a, "") => a.to_owned(),
        (a, b) => format!("{a}.{b}"),
    }
}

/// Reads the text of a source from byte `from` on. What is wrong goes into `findings`; `None` when nothing
/// can be made of the text.
pub fn parse(findings: &mut Findings, source: usize, from: usize) -> Option<Node> {
    let whole = findings.source(source).text.clone();
    let start = Span { source, line: 1, column: 1, width: 1 };
    if whole.len() > MAX_BYTES {
        findings.error(start, "", format!("the file has {} bytes: at most {MAX_BYTES} are read", whole.len()));
        return None;
    }
    let parser = Parser::new_from_str_with_options(
        &whole[from..],
        options! {
            disallow_directives: true,
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        },
    );
    let before = whole[..from].chars().count();
    Builder { parser, findings, source, before, anchors: HashMap::new(), nodes: 0 }.document()
}

struct Builder<'f, I: Iterator> {
    parser: I,
    findings: &'f mut Findings,
    source: usize,
    /// Characters on the first line before the text that is parsed.
    before: usize,
    /// Anchor id → its value, how many values that is, and how deep.
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
}

/// Parsing cannot go on; the reason is among the findings.
struct Stopped;

impl<'t, I> Builder<'_, I>
where
    I: Iterator<Item = Result<(Event<'t>, granit_parser::Span), granit_parser::ScanError>>,
{
    fn document(mut self) -> Option<Node> {
        let mut root = None;
        while let Ok(Some((event, span))) = self.next() {
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => return root,
                Event::DocumentStart(..) if root.is_some() => {
                    let at = self.span(&span);
                    self.error(at, "a second document begins here: one file holds one recipe or campaign".into());
                    return None;
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, span, 1).ok()?.0),
            }
        }
        None
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, granit_parser::Span)>, Stopped> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => {
                let at = self.point(error.marker());
                self.error(at, syntax_message(error.kind()));
                Err(Stopped)
            }
        }
    }

    /// The value that begins with `event`, and how deep it is.
    fn node(&mut self, event: Event<'t>, span: granit_parser::Span, depth: usize) -> Result<(Node, usize), Stopped> {
        let at = self.span(&span);
        if let Some(tag) = event.tag() {
            let message = format!("the tag `{}` is not supported: quote the value to make it a text", tag.original());
            self.error(at, message);
        }
        self.count(1, at)?;
        if depth > MAX_DEPTH {
            return self.stop(at, format!("more than {MAX_DEPTH} levels of sections and lists inside each other"));
        }
        let before = self.nodes;
        let (content, deepest, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                (Content::Scalar { text: text.into_owned(), plain }, depth, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            Event::SequenceStart(_, anchor, _) => {
                let (items, deepest) = self.sequence(at, depth)?;
                (Content::Sequence(items), deepest, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, deepest) = self.mapping(at, depth)?;
                (Content::Mapping(entries), deepest, anchor)
            }
            _ => return self.stop(at, "expected a value".into()),
        };
        let node = Node { span: at, content };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1, deepest - depth));
        }
        Ok((node, deepest))
    }

    fn sequence(&mut self, at: Span, depth: usize) -> Result<(Vec<Node>, usize), Stopped> {
        let mut items = Vec::new();
        let mut deepest = depth;
        loop {
            match self.next()? {
                None => return self.stop(at, "the list has no end".into()),
                Some((Event::SequenceEnd, _)) => return Ok((items, deepest)),
                Some((event, span)) => {
                    let (node, below) = self.node(event, span, depth + 1)?;
                    deepest = deepest.max(below);
                    items.push(node);
                }
            }
        }
    }

    fn mapping(&mut self, at: Span, depth: usize) -> Result<(Vec<Entry>, usize), Stopped> {
        let mut entries: Vec<Entry> = Vec::new();
        // Lines of keys seen, so that a long section is not searched for every key.
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut deepest = depth;
        loop {
            let key = match self.next()? {
                None => return self.stop(at, "the section has no end".into()),
                Some((Event::MappingEnd, _)) => return Ok((entries, deepest)),
                Some((event, span)) => self.node(event, span, depth + 1)?.0,
            };
            let Some((event, span)) = self.next()? else { return self.stop(at, "the section has no end".into()) };
            let (node, below) = self.node(event, span, depth + 1)?;
            deepest = deepest.max(below);
            match key.content {
                Content::Scalar { text, plain: true } if text == "<<" => self.error(
                    key.span,
                    "merge keys (`<<`) are not supported: write the keys out, or name the whole section by an alias"
                        .into(),
                ),
                Content::Scalar { text, .. } => match seen.get(&text) {
                    Some(first) => {
                        let message = format!("the key `{text}` is given twice, first in line {first}: remove one");
                        self.error(key.span, message);
                    }
                    None => {
                        seen.insert(text.clone(), key.span.line);
                        entries.push(Entry { key: text, key_span: key.span, node });
                    }
                },
                Content::Sequence(_) | Content::Mapping(_) => {
                    self.error(key.span, "a key must be a word, not a list or a section".into());
                }
            }
        }
    }

    fn alias(&mut self, anchor: usize, at: Span, depth: usize) -> Result<(Node, usize), Stopped> {
        let Some((node, nodes, below)) = self.anchors.get(&anchor) else {
            return self.stop(at, "the alias stands inside the value it names".into());
        };
        let (node, nodes, deepest) = (node.clone(), *nodes, depth + below);
        if deepest > MAX_DEPTH {
            return self.stop(at, format!("with this alias, more than {MAX_DEPTH} levels inside each other"));
        }
        self.count(nodes, at)?;
        Ok((node, deepest))
    }

    fn count(&mut self, nodes: usize, at: Span) -> Result<(), Stopped> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return self.stop(at, format!("more than {MAX_NODES} values, aliases expanded"));
        }
        Ok(())
    }

    fn stop<T>(&mut self, at: Span, message: String) -> Result<T, Stopped> {
        self.error(at, message);
        Err(Stopped)
    }

    fn error(&mut self, at: Span, message: String) {
        self.findings.error(at, "", message);
    }

    fn point(&self, marker: &Marker) -> Span {
        let before = if marker.line() <= 1 { self.before } else { 0 };
        Span { source: self.source, line: marker.line().max(1), column: marker.col() + 1 + before, width: 1 }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let width =
            if span.start.line() == span.end.line() { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        Span { width: width.max(1), ..self.point(&span.start) }
    }
}

/// The parser's message, with the cure where the usual cause is known.
fn syntax_message(kind: &ErrorKind) -> String {
    let cure = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => "indent with spaces",
        ErrorKind::MappingValueNotAllowed => "quote a text that contains `: `, or check the indentation",
        ErrorKind::UnclosedQuotedScalar => "close the quote",
        ErrorKind::UnclosedFlowCollection { .. } => "close the bracket",
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            "close the bracket before this, or separate by a comma"
        }
        ErrorKind::UnexpectedCharacter { .. } => "quote a text that begins with a sign",
        ErrorKind::UnknownQuotedScalarEscape => "use single quotes for a text with backslashes",
        ErrorKind::UnknownAnchor => "an alias (`*name`) needs its anchor (`&name`) before it",
        ErrorKind::DirectiveDisallowed => "remove the line that begins with `%`",
        ErrorKind::RecursionLimitExceeded => "there are too many levels inside each other",
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry | ErrorKind::InvalidIndentation => {
            "check the indentation of this line"
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => "a line of a section reads `key: value`",
        _ => return format!("not valid YAML: {kind}"),
    };
    format!("not valid YAML: {kind}; {cure}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Option<Node>, Findings) {
        let mut findings = Findings::default();
        let source = findings.add_source("x.yaml", text, false);
        let node = parse(&mut findings, source, 0);
        (node, findings)
    }

    #[test]
    fn texts_and_places_are_kept() {
        let (node, findings) = read("a: 1.10\nb:\n  c: 02:00:00 # note\n  d: [yes, \"4\", ~]\n  e:\n");
        assert!(!findings.has_errors(), "{}", findings.render_all());
        let node = node.expect("a tree");
        for (path, text, line, column) in [("a", "1.10", 1, 4), ("b.c", "02:00:00", 3, 6), ("b.e", "~", 5, 4)] {
            let entry = node.find(path).expect(path);
            assert_eq!(entry.node.text(), Some(text), "{path}");
            assert_eq!((entry.node.span.line, entry.node.span.column), (line, column), "{path}");
        }
        let items = node.find("b.d").expect("list").node.items();
        assert_eq!(items[0].describe(), "`yes`");
        assert_eq!(items[1].describe(), "the text `4`");
        assert!(items[2].is_null());
    }

    #[test]
    fn aliases_repeat_a_value_and_are_bounded() {
        let (node, findings) = read("a: &x {k: 1}\nb: *x\n");
        assert!(!findings.has_errors());
        assert_eq!(node.expect("a tree").find("b.k").and_then(|entry| entry.node.text()), Some("1"));

        let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..10 {
            let previous = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
        }
        assert!(read(&bomb).1.render_all().contains("more than 100000 values"));

        let mut tower = format!("a0: &a0 {}1{}\n", "[".repeat(40), "]".repeat(40));
        tower += &format!("a1: {}*a0{}\n", "[".repeat(40), "]".repeat(40));
        assert!(read(&tower).1.render_all().contains("more than 64 levels"));
        assert!(read("a: &a [*a]").1.has_errors());
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        assert!(read(&"# comment\n".repeat(200_000)).1.render_all().contains("at most 1048576"));
    }

    #[test]
    fn values_are_put_at_paths() {
        let mut node = read("a: {b: 1}\nc: 2\nd:\n").0.expect("a tree");
        let value = || read("9").0.expect("a value");
        for path in ["a.b", "a.x.y", "d.e", "f"] {
            node.set(path, Span::default(), value()).expect(path);
            assert_eq!(node.find(path).and_then(|entry| entry.node.text()), Some("9"), "{path}");
        }
        assert_eq!(node.set("c.d.e", Span::default(), value()), Err("c".into()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            read(&text);
        }

        #[test]
        fn no_yaml_like_text_makes_the_parser_panic(text in "[-a:&*!|>'\"%@`#,{}\\[\\]? \t\r\n~.0]{0,120}") {
            let (node, findings) = read(&text);
            // Nothing is dropped silently: no tree means a reason, or a text without content.
            if node.is_none() && !findings.has_errors() {
                prop_assert!(
                    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with(['#', '-', '.'])),
                    "{}", text
                );
            }
        }
    }
}
