// Claude Code, which speaks Anthropic Messages.
import { test } from 'node:test';
import { model, question, runAgent, script } from './agent.mjs';

const program = `node_modules/@anthropic-ai/claude-code-linux-${process.arch}/claude`;

test('Claude Code runs a command and answers', () =>
  runAgent({
    lines: script('Bash', (command) => ({ command, description: 'Reads the note' })),
    command: [`${import.meta.dirname}/${program}`, '-p', question, '--allowedTools', 'Bash'],
    environment: (url) => ({
      ANTHROPIC_BASE_URL: `${url}/anthropic`,
      ANTHROPIC_AUTH_TOKEN: 'any',
      ANTHROPIC_MODEL: model,
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    }),
  }));
