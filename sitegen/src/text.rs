//! Texts of the archive as they are shown: what a terminal or a writing direction would act on becomes a visible sign.
//!
//! A page, a feed or a drawing shows `␛[31m` where an archive has a terminal's escape, and `⟨U+202E⟩` where it has a mark
//! that turns the reading direction. Letters of right-to-left scripts and joiners within words stay as they are; the style
//! sheet keeps their direction within their element. Files for programs keep the value and write the sign as an escape.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::{
    Value,
    ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter, Serializer},
};

/// What stands in place of a character that has no shape of its own; `None` for all others. Line ends and tabs are shapes.
fn sign(c: char) -> Option<String> {
    match c {
        '\n' | '\t' => None,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).map(String::from),
        '\u{7f}' => Some('\u{2421}'.to_string()),
        _ if is_hidden(c) => Some(format!("⟨U+{:04X}⟩", c as u32)),
        _ => None,
    }
}

/// Characters that change how others are read, or that nobody sees: directions, spaces of no width, tags.
pub fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' | '\u{fffe}' | '\u{ffff}')
}

/// The text with signs in place of what has no shape. The line ends of other systems become `\n`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| sign(c).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match sign(c) {
            _ if c == '\r' && letters.peek() == Some(&'\n') => {}
            Some(sign) => out += &sign,
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A visible text within an element or an attribute of HTML or XML.
pub fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 16);
    // Writing to memory cannot fail, and what is written is text.
    _ = write_escaped(text, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The same, as templates print.
pub fn write_escaped(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let text = visible(text);
    let mut from = 0;
    for (place, byte) in text.bytes().enumerate() {
        let reference: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            b'\'' => b"&#39;",
            _ => continue,
        };
        out.write_all(&text.as_bytes()[from..place])?;
        out.write_all(reference)?;
        from = place + 1;
    }
    out.write_all(&text.as_bytes()[from..])
}

/// JSON for a script of a page: its texts are visible ones, and none of them can end the script.
pub fn script_json(value: &Value) -> String {
    written(value, Shown)
}

/// JSON for programs, indented: the values as they are, with escapes for all that has no shape.
pub fn json(value: &impl Serialize) -> String {
    written(value, Exact(PrettyFormatter::new()))
}

fn written(value: &impl Serialize, formatter: impl Formatter) -> String {
    let mut out = Vec::new();
    // Memory takes everything, and what is written here always serialises: texts, numbers, and lists and maps of them.
    _ = value.serialize(&mut Serializer::with_formatter(&mut out, formatter));
    String::from_utf8(out).unwrap_or_default()
}

struct Shown;

impl Formatter for Shown {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(visible(fragment).replace('<', "\\u003c").as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let byte = match escape {
            CharEscape::Backspace => 8,
            CharEscape::FormFeed => 12,
            CharEscape::CarriageReturn => b'\r',
            CharEscape::AsciiControl(byte) => byte,
            other => return CompactFormatter.write_char_escape(writer, other),
        };
        writer.write_all(sign(byte.into()).unwrap_or_default().as_bytes())
    }
}

/// Keeps every value; only the spelling of hidden characters differs from what serde writes.
struct Exact(PrettyFormatter<'static>);

impl Formatter for Exact {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            match is_hidden(c) || c == '\u{7f}' {
                true => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
                false => writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?,
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXTS: [(&str, &str); 7] = [
        ("plain, ü, 日本, עברית", "plain, ü, 日本, עברית"),
        ("\u{1b}[31mred\u{1b}[0m", "␛[31mred␛[0m"),
        ("a\u{0}b\u{7f}\u{9b}2J", "a␀b␡⟨U+009B⟩2J"),
        ("photo_\u{202e}gnp.exe", "photo_⟨U+202E⟩gnp.exe"),
        ("one\r\ntwo\rthree\tfour", "one\ntwo␍three\tfour"),
        ("\u{2066}\u{feff}\u{200b}\u{e0041}", "⟨U+2066⟩⟨U+FEFF⟩⟨U+200B⟩⟨U+E0041⟩"),
        ("می\u{200c}خواهم", "می\u{200c}خواهم"),
    ];

    #[test]
    fn what_has_no_shape_gets_one() {
        for (text, expected) in TEXTS {
            assert_eq!(visible(text), expected);
        }
        assert_eq!(escaped("<a & \"b\">'\u{1b}"), "&lt;a &amp; &quot;b&quot;&gt;&#39;␛");
    }

    #[test]
    fn json_of_pages_shows_texts_and_json_for_programs_keeps_them() {
        for (text, expected) in TEXTS {
            // Escapes are one character each here: a line end of two is left to the reader.
            let shown: Value = serde_json::from_str(&script_json(&json!([text]))).expect("JSON");
            assert_eq!(shown[0].as_str().expect("text").replace("␍\n", "\n"), expected);
            let written = json(&json!({ text: [text, 1.5, null, {}, []] }));
            assert_eq!(
                serde_json::from_str::<Value>(&written).expect("JSON"),
                json!({ text: [text, 1.5, null, {}, []] })
            );
            assert!(!written.chars().any(|c| is_hidden(c) || (c.is_control() && c != '\n')), "{written:?}");
        }
        let text = script_json(&json!({ "</script><!--": "\u{2028}\\u001b" }));
        assert!(!text.contains('<') && !text.contains('\u{2028}'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), json!({ "</script><!--": "⟨U+2028⟩\\u001b" }));
        assert_eq!(json(&json!({ "a": [1, { "b": "c" }] })), format!("{:#}", json!({ "a": [1, { "b": "c" }] })));
    }
}
