//! OpenAI's completions and chat, as the simulator answers them: streamed or whole.

use std::rc::Rc;

use hyper::{Request, Response, StatusCode, body::Incoming};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{
        Answer, DEFAULT_MAX_TOKENS, TokenStream, Wording, body_of, response, stamps, streamed_token, token, whole,
        whole_json, words,
    },
    engine::{Engine, Passage, Step},
};
use crate::load::truth::unix_ns;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Completions,
    Chat,
}

/// What a completion request says, as far as it matters here.
#[derive(Deserialize)]
struct Question {
    model: Option<String>,
    prompt: Option<Value>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Question {
    fn input_tokens(&self) -> u64 {
        let of_messages = self.messages.iter().flatten().filter_map(|message| message.content.as_ref());
        self.prompt.iter().chain(of_messages).map(words).sum()
    }
}

/// Answers a request for a completion.
pub async fn complete(engine: Rc<Engine>, request: Request<Incoming>, api: Api) -> Response<Answer> {
    let Some(body) = body_of(request).await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "the request cannot be read");
    };
    let received_ns = unix_ns();
    let question: Question = match serde_json::from_slice(&body) {
        Ok(question) => question,
        Err(err) => return error(StatusCode::BAD_REQUEST, &format!("the request is not what was expected: {err}")),
    };
    let model = &engine.settings.model;
    if question.model.as_ref().is_some_and(|asked| asked != model) {
        return error(StatusCode::NOT_FOUND, &format!("the model is {model}"));
    }
    if matches!(api, Api::Completions) && question.prompt.is_none()
        || matches!(api, Api::Chat) && question.messages.is_none()
    {
        return error(StatusCode::BAD_REQUEST, "the request has no prompt");
    }
    let input = question.input_tokens();
    let output = question.max_completion_tokens.or(question.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
    if output == 0 {
        return error(StatusCode::BAD_REQUEST, "max_tokens must be at least 1");
    }
    if !engine.fits(input.saturating_add(output)) {
        return error(StatusCode::BAD_REQUEST, "the request is longer than the KV limit");
    }
    let number = engine.arrive();
    if engine.fails(number) {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "simulated failure");
    }
    let mut passage = Passage::new(engine.clone(), number, input, output);
    let usage = json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
    if question.stream {
        let include_usage = question.stream_options.is_some_and(|options| options.include_usage);
        let usage = include_usage.then_some(usage);
        let head = head(&engine, api, number, true);
        let wording = Box::new(Events { engine, api, head, usage, received_ns });
        let body = Answer::Stream(Box::new(TokenStream { passage, wording, ended: false }));
        return response(StatusCode::OK, "text/event-stream", body);
    }
    let mut text = String::new();
    while let Some(step) = passage.next().await {
        if let Step::Token { number, .. } = step {
            text.push_str(&token(number));
        }
    }
    let mut choice = json!({ "index": 0, "finish_reason": "length" });
    match api {
        Api::Completions => choice["text"] = json!(text),
        Api::Chat => choice["message"] = json!({ "role": "assistant", "content": text }),
    }
    let (head, stamps) = (head(&engine, api, number, false), stamps(&engine, received_ns));
    let answer = format!("{head}\"choices\":[{choice}],\"usage\":{usage}{stamps}}}");
    whole(StatusCode::OK, "application/json", answer)
}

/// How every object of an answer begins.
fn head(engine: &Engine, api: Api, number: u64, chunk: bool) -> String {
    let (prefix, object) = match (api, chunk) {
        (Api::Completions, _) => ("cmpl", "text_completion"),
        (Api::Chat, true) => ("chatcmpl", "chat.completion.chunk"),
        (Api::Chat, false) => ("chatcmpl", "chat.completion"),
    };
    let (created, model) = (unix_ns() / 1_000_000_000, json!(engine.settings.model));
    format!("{{\"id\":\"{prefix}-{number}\",\"object\":\"{object}\",\"created\":{created},\"model\":{model},")
}

/// Server-sent events.
struct Events {
    engine: Rc<Engine>,
    api: Api,
    head: String,
    usage: Option<Value>,
    received_ns: u64,
}

impl Events {
    fn text(&self, number: u64) -> String {
        streamed_token(&self.engine, number, self.received_ns)
    }

    fn event(&self, rest: &str) -> String {
        format!("data: {}{rest}{}}}\n\n", self.head, stamps(&self.engine, self.received_ns))
    }
}

impl Wording for Events {
    /// A chat begins with the role.
    fn prefilled(&mut self) -> Option<String> {
        let role = r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]"#;
        (self.api == Api::Chat).then(|| self.event(role))
    }

    fn token(&mut self, number: u64, last: bool, _passage: &Passage) -> String {
        let (reason, text) = (if last { "\"length\"" } else { "null" }, self.text(number));
        let mut events = self.event(&match self.api {
            Api::Completions => format!(r#""choices":[{{"index":0,"text":"{text}","finish_reason":{reason}}}]"#),
            Api::Chat => {
                format!(r#""choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{reason}}}]"#)
            }
        });
        if last {
            if let Some(usage) = &self.usage {
                events.push_str(&self.event(&format!("\"choices\":[],\"usage\":{usage}")));
            }
            events.push_str("data: [DONE]\n\n");
        }
        events
    }
}

pub fn error(status: StatusCode, message: &str) -> Response<Answer> {
    whole_json(
        status,
        &json!({ "error": { "message": message, "type": status.canonical_reason(), "code": status.as_u16() } }),
    )
}
