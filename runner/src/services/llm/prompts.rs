//! What is asked of language models: one prompt for all, prompts of drawn lengths, or those of a file.
//!
//! A prompt is a function of the seed and the request's place. Drawn prompts are token ids, whose number is exact, or words,
//! which are about as many tokens: how many is the server's to say, and is compared with what was meant. Two
//! drawn prompts of a load differ within their first tokens, and the first ones of as many as there are words or ids from the very first.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::load::{Draw, LoadSpec, Place};

/// Streams of draws.
const DRAW_PROMPT: u64 = 0x7072_6f6d_7074;
const DRAW_PREFIX: u64 = 0x7072_6566_6978;
const DRAW_OFFSET: u64 = 0x6f66_6673_6574;
/// Longest drawn length.
const LONGEST: u32 = 1_000_000;
/// Most prompts of a file: they are held in memory.
const MOST: usize = 1_000_000;
/// Draws outside the bounds that are thrown away before the bound itself is taken.
const REDRAWS: u32 = 100;

/// Token ids of drawn prompts: not the lowest, among which are special ones.
const FIRST_ID: u32 = 1_000;
const IDS: u64 = 30_000;

/// Words of drawn prompts, each one token to most models.
const WORDS: [&str; 188] = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
    "car",
    "city",
    "community",
    "name",
    "president",
    "team",
    "minute",
    "idea",
    "body",
    "information",
    "back",
    "parent",
    "face",
    "others",
    "level",
    "office",
    "door",
    "health",
    "person",
    "art",
    "war",
    "history",
    "party",
    "result",
    "change",
    "morning",
    "reason",
    "research",
    "girl",
    "guy",
    "moment",
    "air",
    "teacher",
    "force",
    "education",
    "foot",
    "boy",
    "age",
    "policy",
    "music",
    "market",
    "sense",
    "nation",
    "plan",
    "college",
    "interest",
    "death",
    "experience",
    "effect",
    "class",
    "control",
    "field",
    "development",
    "role",
    "effort",
    "rate",
    "heart",
    "drug",
    "show",
    "leader",
    "light",
    "voice",
    "wife",
    "police",
    "mind",
    "price",
    "report",
    "decision",
    "son",
    "view",
    "relationship",
    "town",
    "road",
    "arm",
    "difference",
    "value",
    "building",
    "action",
    "season",
    "society",
    "tax",
    "director",
    "position",
    "player",
    "record",
    "paper",
    "space",
    "ground",
    "form",
    "event",
    "official",
    "matter",
    "center",
    "couple",
    "site",
    "project",
    "activity",
    "star",
    "table",
    "court",
    "oil",
    "situation",
    "cost",
    "industry",
    "figure",
    "street",
    "image",
    "phone",
    "data",
    "picture",
    "practice",
    "piece",
    "land",
    "product",
    "doctor",
    "wall",
    "patient",
    "worker",
    "news",
    "test",
    "movie",
    "north",
    "love",
    "step",
];

/// How a length is drawn for each request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lengths {
    /// `constant` (of `mean`), `uniform` (from `min` to `max`), `normal` or `lognormal` (of `mean` and `stddev`, drawn again
    /// when outside `min` and `max`).
    pub distribution: Law,
    /// Mean of the length, before bounds.
    #[schemars(range(min = 1, max = 1000000))]
    pub mean: Option<f64>,
    /// Standard deviation of the length, before bounds.
    #[schemars(range(min = 0, max = 1000000))]
    pub stddev: Option<f64>,
    /// Shortest length.
    #[schemars(range(min = 1, max = 1000000))]
    pub min: Option<u32>,
    /// Longest length.
    #[schemars(range(min = 1, max = 1000000))]
    pub max: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    #[default]
    Constant,
    Uniform,
    Normal,
    Lognormal,
}

impl Lengths {
    /// Whether every key that the law needs is there, and none without effect.
    pub fn check(&self) -> Result<(), String> {
        let given = [self.mean.is_some(), self.stddev.is_some(), self.min.is_some(), self.max.is_some()];
        let (name, needed, allowed) = match self.distribution {
            Law::Constant => ("constant", [true, false, false, false], [true, false, false, false]),
            Law::Uniform => ("uniform", [false, false, true, true], [false, false, true, true]),
            Law::Normal => ("normal", [true, true, false, false], [true; 4]),
            Law::Lognormal => ("lognormal", [true, true, false, false], [true; 4]),
        };
        for (place, key) in ["mean", "stddev", "min", "max"].into_iter().enumerate() {
            if needed[place] && !given[place] {
                return Err(format!("`distribution: {name}` needs `{key}`"));
            }
            if given[place] && !allowed[place] {
                return Err(format!("`{key}` has no effect with `distribution: {name}`: remove it"));
            }
        }
        let (min, max) = (self.min.unwrap_or(1), self.max.unwrap_or(LONGEST));
        if min > max {
            return Err(format!("`min` {min} is above `max` {max}"));
        }
        match self.mean {
            Some(mean) if self.distribution == Law::Constant && mean.fract() != 0.0 => {
                Err(format!("`mean` {mean} of a constant length must be whole"))
            }
            Some(mean) if mean < f64::from(min) || mean > f64::from(max) => {
                Err(format!("`mean` {mean} is not between `min` {min} and `max` {max}"))
            }
            _ => Ok(()),
        }
    }

    /// A length of the law.
    pub fn draw(&self, draw: &mut Draw) -> u32 {
        let (min, max) = (self.min.unwrap_or(1), self.max.unwrap_or(LONGEST));
        let (mean, deviation) = (self.mean.unwrap_or(1.0), self.stddev.unwrap_or(0.0));
        // Parameters of the logarithm, from mean and deviation of the length itself.
        let variance = (1.0 + (deviation / mean).powi(2)).ln();
        let centre = mean.ln() - variance / 2.0;
        let one = |draw: &mut Draw| match self.distribution {
            Law::Lognormal => (centre + variance.sqrt() * draw.normal()).exp(),
            _ => mean + deviation * draw.normal(),
        };
        match self.distribution {
            Law::Constant => return mean as u32,
            Law::Uniform => return min + draw.below(u64::from(max - min) + 1) as u32,
            Law::Normal | Law::Lognormal => {}
        }
        let mut length = one(draw).round();
        for _ in 0..REDRAWS {
            if (f64::from(min)..=f64::from(max)).contains(&length) {
                break;
            }
            length = one(draw).round();
        }
        length.clamp(f64::from(min), f64::from(max)) as u32
    }
}

/// Where prompts come from.
#[derive(Clone, Debug)]
pub enum Prompts {
    /// The same for every request.
    Fixed(String),
    /// Drawn for each request.
    Drawn(Drawn),
    /// Dealt out to the requests in turn: each once, before any comes again.
    File { prompts: Arc<[Prompt]>, clients: u64, closed: bool },
}

/// One prompt of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    pub content: Content,
    pub max_tokens: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Text(String),
    /// A conversation, as the APIs take it.
    Messages(Value),
}

/// What a drawn prompt is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Token ids: exact. Ids between 1,000 and 31,000, which are ordinary tokens of every model with at least as many.
    Ids,
    /// Words, each about a token.
    #[default]
    Text,
}

/// Prompts of drawn lengths.
#[derive(Clone, Debug)]
pub struct Drawn {
    lengths: Lengths,
    form: Form,
    clients: u64,
    closed: bool,
    /// What all of them begin with, in both forms.
    prefix: Arc<[u32]>,
    prefix_text: Arc<str>,
}

/// Where a request's prompt is put together; kept for its allocations.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    text: String,
    ids: Vec<u32>,
}

/// What one request asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask<'a> {
    pub text: &'a str,
    /// In place of `text`.
    pub ids: Option<&'a [u32]>,
    /// In place of `text`.
    pub messages: Option<&'a Value>,
    /// That the prompt itself says.
    pub max_tokens: Option<u32>,
    /// How many tokens the prompt was meant to have, if that was said.
    pub tokens: Option<u32>,
}

/// A prompt as the APIs take it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Wire<'a> {
    Text(&'a str),
    Ids(&'a [u32]),
}

/// A conversation as the APIs take it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Conversation<'a> {
    Alone([Turn<'a>; 1]),
    Given(&'a Value),
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Turn<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> Ask<'a> {
    pub fn wire(&self) -> Wire<'a> {
        self.ids.map_or(Wire::Text(self.text), Wire::Ids)
    }

    /// The conversation that it is, or makes.
    pub fn conversation(&self) -> Conversation<'a> {
        let alone = || Conversation::Alone([Turn { role: "user", content: self.text }]);
        self.messages.map_or_else(alone, Conversation::Given)
    }
}

impl Drawn {
    /// `prefix` is how many tokens all of them begin with.
    pub fn new(job: &LoadSpec, lengths: Lengths, prefix: u32, form: Form) -> Self {
        let mut draw = Draw::new(&[job.seed, DRAW_PREFIX]);
        let prefix: Vec<u32> = (0..prefix).map(|_| draw.below(form.choice()) as u32).collect();
        let mut prefix_text = String::new();
        if form == Form::Text {
            prefix.iter().for_each(|word| add_word(&mut prefix_text, *word));
        }
        Self {
            lengths,
            form,
            clients: u64::from(job.clients),
            closed: job.arrival.is_closed(),
            prefix: prefix.into(),
            prefix_text: prefix_text.into(),
        }
    }

    fn write<'a>(&self, seed: u64, place: Place, recorded: Option<u32>, scratch: &'a mut Scratch) -> Ask<'a> {
        let parts = [seed, DRAW_PROMPT, u64::from(place.sequence), place.index, u64::from(place.warmup)];
        let mut draw = Draw::new(&parts);
        let length = recorded.unwrap_or_else(|| self.lengths.draw(&mut draw));
        // Its number among all requests, in the digits of the first tokens: no other has these.
        let number = match self.closed {
            true => place.index.wrapping_mul(self.clients).wrapping_add(u64::from(place.sequence)),
            false => place.index,
        };
        let choice = self.form.choice();
        let mut rest = number.wrapping_mul(2).wrapping_add(u64::from(place.warmup));
        let mut offsets = Draw::new(&[seed, DRAW_OFFSET]);
        scratch.text.clear();
        scratch.ids.clear();
        scratch.text.push_str(&self.prefix_text);
        if self.form == Form::Ids {
            scratch.ids.extend(self.prefix.iter().map(|id| FIRST_ID + id));
        }
        for at in 0..length {
            let chosen = match at < self.form.digits() {
                true => {
                    let digit = rest % choice;
                    rest /= choice;
                    (digit + offsets.below(choice)) % choice
                }
                false => draw.below(choice),
            };
            match self.form {
                Form::Text => add_word(&mut scratch.text, chosen as u32),
                Form::Ids => scratch.ids.push(FIRST_ID + chosen as u32),
            }
        }
        Ask {
            text: &scratch.text,
            ids: (self.form == Form::Ids).then_some(&scratch.ids),
            messages: None,
            max_tokens: None,
            tokens: Some(length + self.prefix.len() as u32),
        }
    }
}

impl Form {
    /// How many different tokens there are to choose from.
    fn choice(self) -> u64 {
        match self {
            Self::Ids => IDS,
            Self::Text => WORDS.len() as u64,
        }
    }

    /// First tokens that number the prompts, up to at least 10¹¹ of them.
    fn digits(self) -> u32 {
        match self {
            Self::Ids => 3,
            Self::Text => 6,
        }
    }
}

impl Prompts {
    /// The prompt of a request; `recorded` is its length in a trace.
    pub fn of<'a>(&'a self, seed: u64, place: Place, recorded: Option<u32>, scratch: &'a mut Scratch) -> Ask<'a> {
        let text = match self {
            Self::Fixed(prompt) => prompt.as_str(),
            Self::Drawn(drawn) => return drawn.write(seed, place, recorded, scratch),
            Self::File { prompts, clients, closed } => {
                let count = prompts.len() as u64;
                let turn = match closed {
                    true => place.index.wrapping_mul(*clients).wrapping_add(u64::from(place.sequence)) % count,
                    false => place.index % count,
                };
                // Warm-up has a sequence of its own in closed loop; it takes prompts from the other end.
                let prompt = match place.warmup && *closed {
                    true => &prompts[(count - 1 - turn) as usize],
                    false => &prompts[turn as usize],
                };
                let (text, messages) = match &prompt.content {
                    Content::Text(text) => (text.as_str(), None),
                    Content::Messages(messages) => ("", Some(messages)),
                };
                return Ask { text, ids: None, messages, max_tokens: prompt.max_tokens, tokens: None };
            }
        };
        Ask { text, ids: None, messages: None, max_tokens: None, tokens: None }
    }
}

fn add_word(text: &mut String, word: u32) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(WORDS[word as usize]);
}

/// The prompts of a JSONL file: an object a line with `prompt` or `messages`, and perhaps `max_tokens`; `chat` tells
/// whether conversations can be asked. Errors name the line.
pub fn parse(text: &str, chat: bool) -> Result<Vec<Prompt>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        prompt: Option<String>,
        messages: Option<Vec<Message>>,
        max_tokens: Option<u32>,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Message {
        role: String,
        content: String,
    }
    let mut prompts = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() {
            continue;
        }
        let wrong = |reason: String| format!("line {number}: {reason}");
        let Line { prompt, messages, max_tokens } = serde_json::from_str(line).map_err(|err| {
            // The place within the line is of no use: what is wrong is named.
            let text = err.to_string();
            wrong(text.split(" at line ").next().unwrap_or(&text).to_owned())
        })?;
        let content = match (prompt, messages) {
            (Some(text), None) if text.is_empty() => return Err(wrong("`prompt` is empty".into())),
            (Some(text), None) => Content::Text(text),
            (None, Some(messages)) if messages.is_empty() => return Err(wrong("`messages` is empty".into())),
            (None, Some(_)) if !chat => {
                return Err(wrong("`messages` need `api: chat`: give `prompt`, or change the API".into()));
            }
            (None, Some(messages)) => {
                Content::Messages(serde_json::to_value(messages).map_err(|err| wrong(err.to_string()))?)
            }
            _ => return Err(wrong("give one of `prompt` and `messages`".into())),
        };
        if max_tokens == Some(0) {
            return Err(wrong("`max_tokens` is 0: leave it out, or give at least 1".into()));
        }
        if prompts.len() == MOST {
            return Err(wrong(format!("more than {MOST} prompts")));
        }
        prompts.push(Prompt { content, max_tokens });
    }
    if prompts.is_empty() { Err("the file has no prompts".into()) } else { Ok(prompts) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn law(distribution: Law, mean: f64, stddev: f64, min: u32, max: u32) -> Lengths {
        match distribution {
            Law::Constant => Lengths { mean: Some(mean), ..Lengths::default() },
            Law::Uniform => Lengths { distribution, min: Some(min), max: Some(max), ..Lengths::default() },
            _ => Lengths { distribution, mean: Some(mean), stddev: Some(stddev), min: Some(min), max: Some(max) },
        }
    }

    fn place(sequence: u32, index: u64) -> Place {
        Place { sequence, index, warmup: false }
    }

    #[test]
    fn lengths_have_the_mean_and_deviation_of_their_law() {
        for (lengths, mean, deviation) in [
            (law(Law::Constant, 100.0, 0.0, 1, 1), 100.0, 0.0),
            (law(Law::Uniform, 0.0, 0.0, 51, 150), 100.5, (100.0f64 * 100.0 - 1.0).sqrt() / 12f64.sqrt()),
            (law(Law::Normal, 100.0, 10.0, 1, 1000), 100.0, 10.0),
            (law(Law::Lognormal, 100.0, 50.0, 1, 100_000), 100.0, 50.0),
        ] {
            lengths.check().expect("right");
            let mut draw = Draw::new(&[1]);
            let count = 20_000;
            let drawn: Vec<f64> = (0..count).map(|_| f64::from(lengths.draw(&mut draw))).collect();
            let found = drawn.iter().sum::<f64>() / f64::from(count);
            let variance = drawn.iter().map(|length| (length - found).powi(2)).sum::<f64>() / f64::from(count);
            // Five standard errors; the seed is fixed, so the check cannot flake.
            assert!((found - mean).abs() <= 5.0 * deviation / f64::from(count).sqrt(), "{lengths:?}: {found}");
            assert!((variance.sqrt() - deviation).abs() <= 0.05 * deviation, "{lengths:?}: {}", variance.sqrt());
        }
    }

    #[test]
    fn laws_say_what_they_need() {
        for (lengths, expect) in [
            (Lengths::default(), "`distribution: constant` needs `mean`"),
            (Lengths { mean: Some(1.5), ..Lengths::default() }, "must be whole"),
            (Lengths { max: Some(4), mean: Some(2.0), ..Lengths::default() }, "`max` has no effect"),
            (law(Law::Uniform, 0.0, 0.0, 5, 4), "`min` 5 is above `max` 4"),
            (Lengths { distribution: Law::Uniform, min: Some(1), ..Lengths::default() }, "needs `max`"),
            (Lengths { stddev: None, ..law(Law::Normal, 5.0, 1.0, 1, 9) }, "needs `stddev`"),
            (law(Law::Lognormal, 50.0, 1.0, 1, 9), "`mean` 50 is not between"),
        ] {
            let err = lengths.check().expect_err(expect);
            assert!(err.contains(expect), "{err}");
        }
    }

    proptest! {
        #[test]
        fn lengths_stay_within_their_bounds(
            which in 0..4usize, mean in 1.0..1000.0f64, stddev in 0.0..5000.0f64, min in 1..500u32, more in 0..500u32, seed: u64,
        ) {
            let distribution = [Law::Constant, Law::Uniform, Law::Normal, Law::Lognormal][which];
            let lengths = law(distribution, mean.round(), stddev, min, min + more);
            let length = lengths.draw(&mut Draw::new(&[seed]));
            match distribution {
                Law::Constant => prop_assert_eq!(f64::from(length), mean.round()),
                _ => prop_assert!((min..=min + more).contains(&length)),
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}(\n\\PC{0,20}){0,3}") {
            let _ = parse(&text, true);
        }
    }

    fn spec(clients: u32) -> LoadSpec {
        serde_json::from_value(serde_json::json!({
            "arrival": { "model": "closed", "think_time_s": 0 }, "clients": clients, "threads": 1,
            "stop": { "requests": 1 }, "warmup": { "duration_s": 0, "requests": 0 }, "stagger_s": 0, "timeout_s": 1,
            "pipeline": 1, "seed": 7,
        }))
        .expect("a load")
    }

    /// The tokens of a prompt, whatever their form.
    fn tokens(prompts: &Prompts, place: Place, recorded: Option<u32>) -> Vec<String> {
        let mut scratch = Scratch::default();
        let ask = prompts.of(7, place, recorded, &mut scratch);
        let tokens: Vec<String> = match ask.ids {
            Some(ids) => ids.iter().map(u32::to_string).collect(),
            None => ask.text.split(' ').map(str::to_owned).collect(),
        };
        assert_eq!(ask.tokens.map(|count| count as usize), Some(tokens.len()));
        tokens
    }

    #[test]
    fn drawn_prompts_differ_from_their_first_tokens_unless_a_prefix_is_asked_for() {
        for form in [Form::Ids, Form::Text] {
            let lengths = law(Law::Uniform, 0.0, 0.0, 6, 40);
            let plain = Prompts::Drawn(Drawn::new(&spec(20), lengths.clone(), 0, form));
            let alike = Prompts::Drawn(Drawn::new(&spec(20), lengths, 5, form));
            let places: Vec<Place> = (0..20)
                .flat_map(|sequence| (0..200).map(move |index| place(sequence, index)))
                .flat_map(|place| [place, Place { warmup: true, ..place }])
                .collect();
            let first = |count: usize, of: &[Place]| -> usize {
                let heads = of.iter().map(|place| tokens(&plain, *place, None)[..count].to_vec());
                heads.collect::<BTreeSet<_>>().len()
            };
            // As many as there are tokens differ from the very first one, all within those that number them.
            let few: Vec<Place> =
                (0..20).flat_map(|sequence| (0..4).map(move |index| place(sequence, index))).collect();
            assert_eq!(first(1, &few), few.len(), "{form:?}");
            assert_eq!(first(form.digits() as usize, &places), places.len(), "{form:?}");
            if form == Form::Ids {
                assert_eq!(first(1, &places), places.len());
            }
            for place in places.iter().take(50) {
                let (with, without) = (tokens(&alike, *place, None), tokens(&plain, *place, None));
                assert_eq!((&with[5..], &with[..5]), (&without[..], &tokens(&alike, places[60], None)[..5]));
            }
            for length in [1, 3, 1000] {
                assert_eq!(tokens(&plain, place(0, 0), Some(length)).len(), length as usize);
            }
        }
    }

    #[test]
    fn every_word_and_id_may_occur_and_no_other() {
        let drawn = |form| Prompts::Drawn(Drawn::new(&spec(1), law(Law::Constant, 20_000.0, 0.0, 1, 1), 0, form));
        let all = |form| -> BTreeSet<String> { tokens(&drawn(form), place(0, 0), None).into_iter().collect() };
        assert_eq!(all(Form::Text), WORDS.iter().map(|word| (*word).to_owned()).collect());
        let ids = all(Form::Ids);
        assert!(ids.iter().all(|id| (1_000..31_000).contains(&id.parse::<u32>().expect("a number"))));
        assert!(ids.len() > 14_000, "{}", ids.len());
    }

    #[test]
    fn a_file_is_dealt_out_before_anything_comes_again() {
        let line = |number: usize| format!("{{\"prompt\": \"p{number}\"}}\n");
        let text: String = (0..12).map(line).collect();
        let prompts: Arc<[Prompt]> = parse(&text, false).expect("prompts").into();
        let closed = Prompts::File { prompts: prompts.clone(), clients: 3, closed: true };
        let all: BTreeSet<String> = (0..3)
            .flat_map(|sequence| (0..4).map(move |index| place(sequence, index)))
            .map(|place| closed.of(1, place, None, &mut Scratch::default()).text.to_owned())
            .collect();
        assert_eq!(all.len(), 12);
        let warm = Place { warmup: true, ..place(0, 0) };
        let text = |prompts: &Prompts, place| prompts.of(1, place, None, &mut Scratch::default()).text.to_owned();
        assert_eq!((text(&closed, warm), text(&closed, place(1, 1))), ("p11".into(), "p4".into()));
        let open = Prompts::File { prompts, clients: 3, closed: false };
        assert_eq!(text(&open, place(0, 13)), "p1");
    }

    #[test]
    fn files_are_read_and_errors_name_the_line() {
        let text =
            "{\"prompt\": \"a\", \"max_tokens\": 3}\n\n{\"messages\": [{\"role\": \"system\", \"content\": \"b\"}]}\n";
        let read = parse(text, true).expect("prompts");
        assert_eq!((read.len(), read[0].max_tokens), (2, Some(3)));
        assert_eq!(read[1].content, Content::Messages(serde_json::json!([{ "role": "system", "content": "b" }])));
        for (text, chat, expect) in [
            ("", true, "the file has no prompts"),
            ("{\"prompt\": \"a\"}\n{\"prompt\": 1}", true, "line 2: invalid type"),
            ("{\"prompt\": \"a\", \"temperature\": 1}", true, "line 1: unknown field `temperature`"),
            ("{\"max_tokens\": 4}", true, "line 1: give one of"),
            ("{\"prompt\": \"a\", \"messages\": []}", true, "line 1: give one of"),
            ("{\"messages\": []}", true, "line 1: `messages` is empty"),
            (
                "{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}",
                false,
                "line 1: `messages` need `api: chat`",
            ),
            ("{\"prompt\": \"\"}", true, "line 1: `prompt` is empty"),
            ("{\"prompt\": \"a\", \"max_tokens\": 0}", true, "line 1: `max_tokens` is 0"),
            ("\nhello", true, "line 2: expected value"),
        ] {
            let err = parse(text, chat).expect_err(text);
            assert!(err.contains(expect), "{text:?}: {err}");
        }
    }
}
