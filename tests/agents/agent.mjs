// Runs an agent's program the way its user would, in an empty home and a folder with one file, and
// without a way to anything but the server: what the tests ask is what stands in that file.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import assert from 'node:assert/strict';
import { startServer, toolCalls } from './server.mjs';

const TIME_LIMIT_MS = 120_000;

export const model = 'deepseek-v4-flash';
export const question = 'What is the password in note.txt?';
export const answer = 'The password is swordfish.';

// What the model does in both turns. `tool` is the agent's name for its shell, `input` makes its
// arguments of a command. The command leaves a trace, so that it is seen to have run.
export function script(tool, input, others = []) {
  const call = toolCalls({ name: tool, input: input('cat note.txt | tee seen.txt') });
  return [
    ...others,
    { match: question, completion: `I read the file.</think>I will look.${call}` },
    { match: 'the password is swordfish', completion: `Now I know it.</think>${answer}` },
  ];
}

// `command` is the program and its arguments; `files` are written to the home folder or, with a
// name that begins with work/, to the work folder. Both may depend on the server's URL.
export async function runAgent({ lines, command, environment, files = () => ({}) }) {
  const server = await startServer({ args: ['-m', process.env.FATHOM_AGENT_MODEL], script: lines });
  const home = mkdtempSync(join(tmpdir(), 'fathom-agent-'));
  const work = join(home, 'work');
  const all = { 'work/note.txt': 'the password is swordfish\n', ...files(server.url) };
  for (const [name, text] of Object.entries(all)) {
    mkdirSync(dirname(join(home, name)), { recursive: true });
    writeFileSync(join(home, name), text);
  }
  const [program, ...args] = command;
  const child = spawn(program, args, {
    cwd: work,
    env: { PATH: process.env.PATH, HOME: home, TMPDIR: home, ...environment(server.url) },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIME_LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  const status = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(signal ?? code));
  });

  const told = `${program} ended with ${status}\n${out}\n${err}\n${server.log()}`;
  assert.equal(status, 0, told);
  assert.ok(out.includes(answer), told);
  assert.doesNotMatch(out, /DSML|<\/?think>/, told);
  assert.equal(readFileSync(join(work, 'seen.txt'), 'utf8'), 'the password is swordfish\n', told);
  rmSync(home, { recursive: true, force: true });
  await server.stop();
}
