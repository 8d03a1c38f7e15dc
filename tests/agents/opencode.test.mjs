// opencode, which speaks Chat Completions. It asks for a title of the session on the side.
import { test } from 'node:test';
import { model, question, runAgent, script } from './agent.mjs';

const program = `node_modules/opencode-linux-${process.arch}/bin/opencode`;
const config = (url) => ({
  model: `fathom/${model}`,
  provider: {
    fathom: {
      npm: '@ai-sdk/openai-compatible',
      options: { baseURL: `${url}/v1`, apiKey: 'any' },
      models: {
        [model]: {
          reasoning: true,
          interleaved: { field: 'reasoning_content' },
          limit: { context: 131072, output: 8192 },
        },
      },
    },
  },
  permission: { '*': 'allow' },
  share: 'disabled',
});
const title = { match: 'Generate a title', completion: 'A short one.</think>A password' };

test('opencode runs a command and answers', () =>
  runAgent({
    lines: script('bash', (command) => ({ command, description: 'Reads the note' }), [title]),
    command: [`${import.meta.dirname}/${program}`, 'run', question],
    // It would look for news of its models, its plugins and itself.
    environment: () => ({
      OPENCODE_DISABLE_MODELS_FETCH: '1',
      OPENCODE_DISABLE_AUTOUPDATE: '1',
      OPENCODE_DISABLE_DEFAULT_PLUGINS: '1',
      NPM_CONFIG_OFFLINE: 'true',
    }),
    files: (url) => ({ 'work/opencode.json': JSON.stringify(config(url)) }),
  }));
