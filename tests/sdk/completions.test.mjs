// Completions, fill-in-the-middle and the small routes through the `openai` package.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { collect, startServer } from './server.mjs';

// Prompts of FIM carry its control tokens, which tells that the layout was used.
const script = [
  {
    match: '<｜fim▁begin｜>def add(a, b):<｜fim▁hole｜>    return c<｜fim▁end｜>',
    completion: '\n    c = a + b\n',
  },
  { match: '<｜fim▁begin｜>x = <｜fim▁hole｜><｜fim▁end｜>', completion: '1' },
];

let server;
let scripted;
let client;
let actor;
before(async () => {
  [server, scripted] = await Promise.all([startServer(), startServer({ script })]);
  client = new OpenAI({ apiKey: 'any', baseURL: `${server.url}/beta`, maxRetries: 0 });
  actor = client.withOptions({ baseURL: `${scripted.url}/beta` });
});
after(() => Promise.all([server.stop(), scripted.stop()]));

const model = 'deepseek-v4-flash';
// The markup of a conversation, written by hand: what the chat route would send.
const prompt = '<｜User｜>Hello<｜Assistant｜></think>';
const plain = { model, prompt, temperature: 0, max_tokens: 20 };
const greeting = 'Hello! How can I help?';

test('raw text is continued', async () => {
  const answer = await client.completions.create(plain);
  assert.equal(answer.object, 'text_completion');
  assert.equal(answer.choices[0].text, greeting);
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.equal(
    answer.usage.total_tokens,
    answer.usage.prompt_tokens + answer.usage.completion_tokens
  );
});

test('a stream says the same', async () => {
  const chunks = await collect(await client.completions.create({ ...plain, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(''), greeting);
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
  for (const chunk of chunks) assert.equal(chunk.object, 'text_completion');
});

test('without a limit sixteen tokens come', async () => {
  const answer = await client.completions.create({ model, prompt: 'a', temperature: 2, seed: 1 });
  assert.ok(answer.usage.completion_tokens <= 16);
});

test('token ids are a prompt, too', async () => {
  // BOS, user, Hello, assistant, end of thinking: models/nano/conversations.jsonl, conv-01.
  const answer = await client.completions.create({ ...plain, prompt: [0, 953, 600, 954, 957] });
  assert.equal(answer.choices[0].text, greeting);
  assert.equal(answer.usage.prompt_tokens, 5);
});

test('stop, echo and legacy log-probabilities', async () => {
  const stopped = await client.completions.create({ ...plain, stop: [' can'] });
  assert.equal(stopped.choices[0].text, 'Hello! How');

  const echoed = await client.completions.create({ ...plain, echo: true });
  assert.equal(echoed.choices[0].text, prompt + greeting);

  const answer = await client.completions.create({ ...plain, logprobs: 2 });
  const { tokens, token_logprobs, top_logprobs, text_offset } = answer.choices[0].logprobs;
  assert.equal(tokens.join(''), greeting);
  assert.equal(token_logprobs.length, tokens.length);
  tokens.forEach((token, i) => {
    assert.equal(greeting.slice(text_offset[i]).startsWith(token), true);
    assert.ok(token in top_logprobs[i]);
  });
});

test('fill in the middle', async () => {
  const middle = await actor.completions.create({
    model,
    prompt: 'def add(a, b):',
    suffix: '    return c',
  });
  assert.equal(middle.choices[0].text, '\n    c = a + b\n');
  const end = await actor.completions.create({ model, prompt: 'x = ', suffix: '', stream: true });
  const text = (await collect(end)).map((chunk) => chunk.choices[0].text).join('');
  assert.equal(text, '1');
});

test('what Completions refuse', async () => {
  for (const more of [{ n: 2 }, { best_of: 3 }, { echo: true, suffix: 'x' }, { logprobs: 21 }]) {
    await assert.rejects(
      client.completions.create({ ...plain, ...more }),
      OpenAI.BadRequestError,
      JSON.stringify(more)
    );
  }
});

test('models', async () => {
  for (const path of ['', '/v1', '/beta']) {
    const other = client.withOptions({ baseURL: server.url + path });
    const models = await collect(await other.models.list());
    assert.ok(models.length >= 1);
    const one = await other.models.retrieve(models[0].id);
    assert.equal(one.id, models[0].id);
    assert.equal(one.object, 'model');
    assert.ok(one.context_length >= 4096);
  }
  await assert.rejects(client.models.retrieve('no-such-model'), OpenAI.NotFoundError);
});

test('balance and health', async () => {
  const balance = await client.get('/user/balance');
  assert.equal(balance.is_available, true);
  for (const path of ['/health', '/healthz', '/', '/v1', '/anthropic']) {
    assert.equal((await fetch(server.url + path)).status, 200, path);
  }
  assert.equal((await fetch(`${server.url}/anthropic`, { method: 'HEAD' })).status, 200);
});
