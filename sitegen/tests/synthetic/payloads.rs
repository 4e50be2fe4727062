//! Texts that try to be more than texts: each would do something in a page, a script, a feed, a drawing, a file name, a
//! spreadsheet or a terminal that took it as it is.

/// One for each way out; a browser that runs one of them shows an alert, leaves the page, or asks for another file.
pub fn payloads() -> Vec<String> {
    let mut all: Vec<String> = PAYLOADS.map(str::to_owned).into();
    all.push(format!("<b>{}", "W".repeat(20_000)));
    all.push(format!("{}x", "<div>".repeat(2_000)));
    all
}

const PAYLOADS: [&str; 66] = [
    // Elements.
    "<script>alert(1)</script>",
    "<ScRiPt/src=data:,alert(2)></sCrIpT >",
    "<img src=x onerror=alert(3)>",
    "<svg onload=alert(4)>",
    "<svg><script>alert&#40;5&#41;</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(6)>",
    "<iframe srcdoc='<script>alert(7)</script>'></iframe>",
    "<object data='javascript:alert(8)'></object>",
    "<embed src='//example.org/9.swf'>",
    "<base href='//example.org/'>",
    "<meta http-equiv=refresh content='0;url=//example.org/11'>",
    "<link rel=stylesheet href='//example.org/12.css'>",
    "<style>@import '//example.org/13.css';</style>",
    "<form action='//example.org/14'><input autofocus onfocus=alert(14)>",
    "<details open ontoggle=alert(15)>",
    "<video><source onerror=alert(16)></video>",
    "<a href='javascript:alert(17)' autofocus onfocus=alert(17)>x</a>",
    "<template><script>alert(18)</script></template><noscript><p title='</noscript><img src=x onerror=alert(18)>'>",
    // Ways out of an element with raw text, and of comments.
    "</script><script>alert(19)</script>",
    "</ScRiPt\n><img src=x onerror=alert(20)>",
    "</title><img src=x onerror=alert(21)>",
    "</textarea><img src=x onerror=alert(22)>",
    "</style><img src=x onerror=alert(23)>",
    "--><img src=x onerror=alert(24)><!--",
    "<!--<script>",
    "]]><script>alert(26)</script><![CDATA[",
    "<?xml-stylesheet href='//example.org/27.xsl'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
    // Ways out of an attribute and of a string of a script.
    "\"><img src=x onerror=alert(28)>",
    "'><img src=x onerror=alert(29)>",
    "\" autofocus onfocus=alert(30) x=\"",
    "' onmouseover=alert(31) style='position:fixed;inset:0' x='",
    "`><img src=x onerror=alert(32)>",
    "&quot;&gt;&lt;img src=x onerror=alert(33)&gt;",
    "&#34;&#62;&#60;img src=x onerror=alert(34)&#62;",
    "\\\"});alert(35);//",
    "\\');alert(36);//",
    "${alert(37)}`;alert(37);`",
    "\\u003cimg src=x onerror=alert(38)\\u003e",
    "\u{2028}alert(39)\u{2029}",
    // Addresses.
    "javascript:alert(40)",
    "JaVaScRiPt\t:alert(41)",
    "\u{1}javascript:alert(42)",
    "data:text/html,<script>alert(43)</script>",
    "vbscript:msgbox(44)",
    "//example.org/45",
    "https://example.org/46?<script>",
    // Templates and the names of functions that options of charts may have.
    "{{ 7 * 7 }}{% for x in range(end=9) %}{{ site.commit | safe }}{% endfor %}",
    "{% raw %}{# {{<",
    "@tooltip",
    "$knee{b}{c|d}",
    "__proto__",
    "constructor",
    // Markdown.
    "[x](javascript:alert(53)) ![x](//example.org/53.png) <javascript:alert(53)>",
    "| a | b |\n| --- | --- |\n```\n<script>alert(54)</script>\n```\n# x",
    // Files, commands, spreadsheets.
    "../../../../../../etc/passwd",
    "..\\..\\..\\windows\\win.ini",
    "%2e%2e%2f%2e%2e%2f%00.html",
    "/dev/null; $(touch /tmp/58) `id` | cat",
    "=HYPERLINK(\"//example.org/59\",\"x\")",
    "CON",
    // Terminals, directions, characters without a shape.
    "\u{1b}[2J\u{1b}]0;title\u{7}\u{1b}]8;;https://example.org/61\u{7}x\u{9b}31m",
    "a\u{0}b\u{8}\u{8}\u{7f}\r<i>c",
    "photo_\u{202e}gpj.exe \u{2066}\u{2067}x\u{200f}",
    "\u{feff}\u{200b}\u{2060}\u{ad}\u{e0041}\u{fff9}x\u{ffff}",
    "שלום עולם <b>אב</b> 123 \u{61c}",
    "Z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}a\u{488}\u{489}l\u{323}g\u{324}o",
];
