//! Clients that were not made for this reach services by the proxy, unchanged (E2).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::upstream::{events, json as whole};
use testkit::{Arrived, Step, Upstream, upstream};

/// Speaks as OpenAI's and as Anthropic's service does, whole and streamed.
fn service() -> Upstream {
    upstream(|request: &Arrived| -> Vec<Step> {
        let streamed = request.json()["stream"] == true;
        match (request.target.as_str(), streamed) {
            ("/v1/chat/completions", false) => {
                whole(&json!({ "id": "c", "object": "chat.completion",
                "created": 1, "model": "m", "choices": [{ "index": 0, "finish_reason": "stop",
                    "message": { "role": "assistant", "content": "hello" } }],
                "usage": { "prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9 } }))
            }
            ("/v1/chat/completions", true) => events([
                r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hello"}}]}"#,
                r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}"#,
                r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#,
                "data: [DONE]",
            ]),
            ("/v1/messages", false) => whole(&json!({ "id": "m", "type": "message",
                "role": "assistant", "model": "m", "content": [{ "type": "text", "text": "hello" }],
                "stop_reason": "end_turn", "stop_sequence": null,
                "usage": { "input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 2 } })),
            ("/v1/messages", true) => events([
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":2,\"output_tokens\":1}}}",
                "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}",
                "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}",
                "event: message_stop\ndata: {\"type\":\"message_stop\"}",
            ]),
            _ => testkit::upstream::answer("404 Not Found", "text/plain", "no"),
        }
    })
}

struct Setting {
    folder: TempDir,
    service: Upstream,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = service();
        let entry = |kind: &str, url: String| {
            json!({ "kind": kind, "url": url, "plain_http": true, "everyone": true,
                "credential": { "env": "TEST_KEY" } })
        };
        let upstreams = json!({ "upstreams": [
            entry("openai", format!("{}/v1", service.url())),
            entry("anthropic", service.url()),
        ] });
        fs::write(folder.path().join("upstreams.json"), upstreams.to_string()).unwrap();
        Self { folder, service }
    }

    /// A module with this entry.
    fn module(&self, name: &str, entry: &str, text: &str, effects: Value) -> PathBuf {
        let module = self.folder.path().join(name);
        fs::create_dir_all(&module).unwrap();
        let manifest = json!({ "id": "client.test", "version": "1.0.0", "summary": "Asks.",
            "entry": entry, "provides": ["AskPort@1"], "side_effects": effects,
            "upstreams": [
                { "name": "model", "kind": "openai", "url": format!("{}/v1", self.service.url()) },
                { "name": "other", "kind": "anthropic", "url": self.service.url() },
            ] });
        fs::write(module.join("module.json"), manifest.to_string()).unwrap();
        fs::write(module.join(entry), text).unwrap();
        fs::set_permissions(module.join(entry), Permissions::from_mode(0o755)).unwrap();
        module
    }

    fn run(&self, module: &Path) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_module-gate"))
            .args(["run", "--output", "json", "--max-files", "30000", "--max-module-mib", "400"])
            .arg("--module")
            .arg(module)
            .arg("--upstreams")
            .arg(self.folder.path().join("upstreams.json"))
            .env("TEST_KEY", "sk-operator-0123456789")
            .env("MODULE_GATE_NODE", crate::fixture::node())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("sk-operator"), "{text}");
        serde_json::from_str(&text).unwrap_or_else(|_| {
            panic!("{text} {}", String::from_utf8_lossy(&output.stderr));
        })
    }

    /// The client asked as often as this, and what was counted is what the service reported.
    fn assert_counted(&self, name: &str, module: &Path, calls: u64) {
        let report = self.run(module);
        assert_eq!(report["verdict"], "PASS", "{name}: {report:#}");
        let usage = &report["usage"];
        let found = (&usage["http_calls"], &usage["llm_in"], &usage["llm_out"]);
        let expected = (&json!(calls), &json!(7 * calls), &json!(2 * calls));
        assert_eq!(found, expected, "{name}: {report:#}");
        let upstreams = report["egress"]["upstreams"].as_array().unwrap();
        assert!(upstreams.iter().all(|one| one["inconclusive"] == 0), "{name}: {report:#}");
    }
}

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn curl_and_fetch_reach_the_service() {
    let setting = Setting::new();
    let curl = format!(
        "#!/bin/sh\nset -e\ncurl -sS --fail \"$LUMIO_UPSTREAM_MODEL/chat/completions\" -H \
         'content-type: application/json' -d '{CHAT}' > \"$LUMIO_OUTPUT/answer.json\"\n"
    );
    let module = setting.module("curl", "ask.sh", &curl, json!(["Network", "Process:shell"]));
    setting.assert_counted("curl", &module, 1);

    let fetch = format!(
        "import {{ writeFileSync }} from 'node:fs';
        const answer = await fetch(`${{process.env.OPENAI_BASE_URL}}/chat/completions`, {{ method: 'POST',
          headers: {{ 'content-type': 'application/json' }}, body: '{CHAT}' }});
        writeFileSync(process.env.LUMIO_OUTPUT + '/answer.json', await answer.text());"
    );
    let module = setting.module("fetch", "main.mjs", &fetch, json!(["Network"]));
    setting.assert_counted("fetch", &module, 1);
}

/// Whether packages are to be fetched, and could be.
fn fetched(command: &mut Command) -> bool {
    if std::env::var_os("LUMIO_LONG").is_none() {
        eprintln!("skipped: packages are only fetched with LUMIO_LONG=1");
        return false;
    }
    let done = command.output().is_ok_and(|output| output.status.success());
    if !done {
        eprintln!("skipped: the packages could not be fetched");
    }
    done
}

#[test]
fn the_official_sdks_for_node_work_unchanged() {
    let setting = Setting::new();
    let main = "
        import { writeFileSync } from 'node:fs';
        import OpenAI from 'openai';
        import Anthropic from '@anthropic-ai/sdk';
        const messages = [{ role: 'user', content: 'hi' }];
        const openai = new OpenAI();
        const said = [];
        const one = await openai.chat.completions.create({ model: 'm', messages });
        said.push(one.choices[0].message.content);
        let text = '';
        for await (const chunk of await openai.chat.completions.create({ model: 'm', messages,
          stream: true })) {
          if (chunk.choices.length === 0) throw new Error('a chunk that nobody asked for');
          text += chunk.choices[0].delta.content ?? '';
        }
        said.push(text);
        const anthropic = new Anthropic();
        const two = await anthropic.messages.create({ model: 'm', max_tokens: 20, messages });
        said.push(two.content[0].text);
        const stream = anthropic.messages.stream({ model: 'm', max_tokens: 20, messages });
        said.push((await stream.finalMessage()).content[0].text);
        if (said.some((word) => word !== 'hello')) throw new Error(said.join());
        writeFileSync(process.env.LUMIO_OUTPUT + '/said.json', JSON.stringify(said));";
    let module = setting.module("node", "main.mjs", main, json!(["Network"]));
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-bin-links", "--ignore-scripts"]);
    if !fetched(npm.args(["openai", "@anthropic-ai/sdk"]).current_dir(&module)) {
        return;
    }
    setting.assert_counted("openai and anthropic for Node", &module, 4);
}

#[test]
fn the_official_sdks_for_python_and_requests_work_unchanged() {
    let setting = Setting::new();
    let main = "#!/usr/bin/env python3
import json, os, sys
sys.dont_write_bytecode = True  # the module declares no writes
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))
import anthropic, openai, requests
messages = [{'role': 'user', 'content': 'hi'}]
client = openai.OpenAI()
said = [client.chat.completions.create(model='m', messages=messages).choices[0].message.content]
chunks = client.chat.completions.create(model='m', messages=messages, stream=True)
said.append(''.join(chunk.choices[0].delta.content or '' for chunk in chunks))
other = anthropic.Anthropic()
said.append(other.messages.create(model='m', max_tokens=20, messages=messages).content[0].text)
with other.messages.stream(model='m', max_tokens=20, messages=messages) as stream:
    said.append(''.join(stream.text_stream))
answer = requests.post(os.environ['LUMIO_UPSTREAM_MODEL'] + '/chat/completions',
    json={'model': 'm', 'messages': messages})
said.append(answer.json()['choices'][0]['message']['content'])
assert said == ['hello'] * 5, said
with open(os.environ['LUMIO_OUTPUT'] + '/said.json', 'w') as file:
    json.dump(said, file)
";
    // Both SDKs ask `uname` what machine this is.
    let effects = json!(["Network", "Process:shell"]);
    let module = setting.module("python", "main.py", main, effects);
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "--python",
        "/usr/bin/python3",
        "install",
        "--quiet",
        "--target",
        "lib",
    ]);
    if !fetched(pip.args(["openai", "anthropic", "requests"]).current_dir(&module)) {
        return;
    }
    setting.assert_counted("openai, anthropic and requests for Python", &module, 5);
}
