// Codex CLI, which speaks Responses.
import { test } from 'node:test';
import { model, question, runAgent, script } from './agent.mjs';

const config = (url) => `
model = "${model}"
model_provider = "fathom"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[model_providers.fathom]
name = "fathom"
base_url = "${url}/v1"
wire_api = "responses"

[analytics]
enabled = false
`;

test('Codex runs a command and answers', () =>
  runAgent({
    lines: script('exec_command', (cmd) => ({ cmd })),
    command: [
      process.execPath,
      `${import.meta.dirname}/node_modules/@openai/codex/bin/codex.js`,
      ...['exec', '--skip-git-repo-check', question],
    ],
    environment: () => ({}),
    files: (url) => ({ '.codex/config.toml': config(url) }),
  }));
