// What clients see when they are wrong, impatient or many.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { startServer } from './server.mjs';

// Long enough to be left in the middle.
const script = [
  { match: 'Recite', completion: 'la '.repeat(4000) },
  { match: 'Recite', completion: 'la '.repeat(4000) },
  { match: 'Still there?', completion: 'Yes.' },
  { match: 'Still there?', completion: 'Yes.' },
];

let server;
let strict;
let scripted;
let client;
let platform;
before(async () => {
  [server, strict, scripted] = await Promise.all([
    startServer(),
    startServer({ args: ['--profile', 'strict'] }),
    startServer({ script }),
  ]);
  client = new OpenAI({ apiKey: 'any', baseURL: `${server.url}/v1`, maxRetries: 0 });
  platform = client.withOptions({ baseURL: `${strict.url}/v1` });
});
after(() => Promise.all([server.stop(), strict.stop(), scripted.stop()]));

const model = 'deepseek-v4-flash';
const hello = [{ role: 'user', content: 'Hello' }];
const plain = { model, messages: hello, temperature: 0, thinking: { type: 'disabled' } };
const greeting = 'Hello! How can I help?';

async function refused(promise, kind, message) {
  const error = await promise.then(
    () => assert.fail('accepted'),
    (caught) => caught
  );
  assert.ok(error instanceof kind, `${error}`);
  if (message instanceof RegExp) assert.match(error.error.message, message);
  else assert.equal(error.error.message, message);
  return error;
}

test('the texts of refusals', async () => {
  const name = (text) => ({ tools: [{ type: 'function', function: { name: text } }] });
  const cases = [
    [{ messages: [] }, 'Empty input messages'],
    [{ temperature: 2.5 }, 'Invalid temperature value, the valid range of temperature is [0, 2]'],
    [{ top_p: 0 }, 'Invalid top_p value, the valid range of top_p is (0, 1.0]'],
    [
      { presence_penalty: 3 },
      'Invalid presence_penalty value, the valid range of presence_penalty is [-2, 2]',
    ],
    [{ max_tokens: 0 }, /^Invalid max_tokens value, the valid range of max_tokens is \[1, \d+\]$/],
    [{ n: 99 }, /^Invalid n value/],
    [{ stop: Array(17).fill('x') }, 'Stop string array too long: 17'],
    [
      { top_logprobs: 2 },
      'Invalid top_logprobs and logprobs value, logprobs must be set to true if top_logprobs is ' +
        'used.',
    ],
    [
      name('a b'),
      "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that " +
        "matches the pattern '^[a-zA-Z0-9_-]+$'.",
    ],
    [
      { messages: [{ role: 'tool', tool_call_id: 'x', content: 'y' }] },
      "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'",
    ],
    [{ messages: [{ role: 'narrator', content: '' }] }, /messages\[0\]\.role: unknown variant/],
    [{ reasoning_effort: 'heroic' }, /reasoning_effort: unknown variant `heroic`/],
    [{ messages: undefined }, /missing field `messages`/],
    [{ temperature: 'warm' }, /temperature: invalid type: string "warm"|temperature: invalid type/],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { if: {} } } } },
      /\bif\b/, // a keyword that cannot be enforced is named
    ],
  ];
  for (const [fields, message] of cases) {
    const request = client.chat.completions.create({ ...plain, ...fields });
    const error = await refused(request, OpenAI.BadRequestError, message);
    assert.equal(error.error.type, 'invalid_request_error');
    assert.ok(error.requestID);
  }
});

test('the platform is stricter', async () => {
  await refused(
    platform.chat.completions.create({ ...plain, model: 'gpt-x' }),
    OpenAI.BadRequestError,
    /^The supported API model names are .*, but you passed gpt-x\.$/
  );
  await refused(
    platform.chat.completions.create({ ...plain, n: 2 }),
    OpenAI.BadRequestError,
    'Invalid n value (currently only n = 1 is supported)'
  );
  await refused(
    platform.chat.completions.create({
      ...plain,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema: {} } },
    }),
    OpenAI.BadRequestError,
    'This response_format type is unavailable now'
  );
  await refused(
    platform.chat.completions.create({
      model,
      messages: hello,
      tools: [{ type: 'function', function: { name: 'f' } }],
      tool_choice: 'required',
    }),
    OpenAI.BadRequestError,
    'Thinking mode does not support this tool_choice'
  );
  await refused(
    platform.chat.completions.create({ ...plain, messages: [{ role: 'developer', content: 'x' }] }),
    OpenAI.UnprocessableEntityError,
    /unknown variant `developer`/
  );
  // What it does accept is answered as ever; any model name is fine by default.
  for (const each of [platform, client]) {
    const name = each === client ? 'gpt-x' : model;
    const answer = await each.chat.completions.create({ ...plain, model: name });
    assert.equal(answer.choices[0].message.content, greeting);
  }
});

test('routes and methods', async () => {
  const error = await refused(
    client.post('/nothing', { body: {} }),
    OpenAI.NotFoundError,
    /^Not found: POST /
  );
  assert.equal(error.code, 'not_found');
  const wrong = await fetch(`${server.url}/v1/chat/completions`);
  assert.equal(wrong.status, 405);
  assert.match(wrong.headers.get('allow'), /POST/);
  const broken = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    body: '{"a":',
  });
  assert.equal(broken.status, 400);
  assert.match((await broken.json()).error.message, /^Failed to parse the request body as JSON/);
  const allowed = await fetch(`${server.url}/v1/chat/completions`, { method: 'OPTIONS' });
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get('access-control-allow-origin'), '*');
});

test('a prompt longer than the context is refused, not cut', async () => {
  const messages = [{ role: 'user', content: 'one two three '.repeat(20_000) }];
  await refused(
    client.chat.completions.create({ ...plain, messages }),
    OpenAI.BadRequestError,
    /^This model's maximum context length is \d+ tokens\. However, you requested \d+ tokens/
  );
});

test('a script that knows no answer says so', async () => {
  const actor = client.withOptions({ baseURL: `${scripted.url}/v1` });
  await refused(actor.chat.completions.create(plain), OpenAI.BadRequestError, /script/i);
});

test('who leaves in the middle of a stream does no harm', async () => {
  const ask = (content) => ({
    model,
    thinking: { type: 'disabled' },
    messages: [{ role: 'user', content }],
  });
  const openai = client.withOptions({ baseURL: `${scripted.url}/v1` });
  const anthropic = new Anthropic({
    apiKey: 'any',
    baseURL: `${scripted.url}/anthropic`,
    maxRetries: 0,
  });

  // By leaving the loop, and by an abort from outside.
  let seen = 0;
  for await (const chunk of await openai.chat.completions.create({
    ...ask('Recite'),
    stream: true,
  })) {
    assert.equal(chunk.choices[0].finish_reason, null);
    if (++seen === 5) break;
  }
  const stream = anthropic.messages.stream({ ...ask('Recite'), max_tokens: 8000 });
  stream.on('text', () => stream.abort());
  await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);

  await sleep(100);
  for (const stream of [false, true]) {
    const answer = await openai.chat.completions.create({ ...ask('Still there?'), stream });
    let text = '';
    if (!stream) text = answer.choices[0].message.content;
    else for await (const chunk of answer) text += chunk.choices[0].delta.content ?? '';
    assert.equal(text, 'Yes.');
  }
});

test('requests side by side do not mix', async () => {
  const sums = [
    ['Hello', greeting],
    ['What is 83+13?', '96'],
    ['Repeat: 5 delhi h jon f k s pam', '5 delhi h jon f k s pam'],
  ];
  const messages = new Anthropic({
    apiKey: 'any',
    baseURL: `${server.url}/anthropic`,
    maxRetries: 0,
  });
  const one = async (i) => {
    const [content, expected] = sums[i % sums.length];
    const request = { ...plain, messages: [{ role: 'user', content }] };
    let text;
    if (i % 4 === 0) {
      const final = await client.chat.completions.stream(request).finalChatCompletion();
      text = final.choices[0].message.content;
    } else if (i % 4 === 1) {
      text = (await client.chat.completions.create(request)).choices[0].message.content;
    } else if (i % 4 === 2) {
      text = (await messages.messages.create({ ...request, max_tokens: 50 })).content[0].text;
    } else {
      const response = await client.responses.create({
        model,
        input: content,
        temperature: 0,
        reasoning: { effort: 'none' },
      });
      text = response.output_text;
    }
    assert.equal(text, expected, `request ${i}`);
  };
  await Promise.all(Array.from({ length: 48 }, (_, i) => one(i)));
});
