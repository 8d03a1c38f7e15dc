// Chat Completions through the `openai` package, answered by the bundled model. What it says to
// these messages is known (models/nano/conversations.jsonl) and has wide margins; where the
// temperature cannot be lowered, in thinking mode, a seed fixes it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { collect, startServer } from './server.mjs';

let server;
let client;
before(async () => {
  server = await startServer();
  client = new OpenAI({ apiKey: 'any', baseURL: `${server.url}/v1`, maxRetries: 0 });
});
after(() => server.stop());

const model = 'deepseek-v4-flash';
const hello = [{ role: 'user', content: 'Hello' }];
const plain = { model, messages: hello, temperature: 0, thinking: { type: 'disabled' } };
const thinking = { model, messages: hello, seed: 1 };
const greeting = 'Hello! How can I help?';

// The text of one choice of a stream, and how it ended.
function join(chunks, index = 0) {
  const all = { content: '', reasoning: '', finish: null };
  for (const choice of chunks.flatMap((chunk) => chunk.choices)) {
    if (choice.index !== index) continue;
    all.content += choice.delta.content ?? '';
    all.reasoning += choice.delta.reasoning_content ?? '';
    all.finish = choice.finish_reason ?? all.finish;
  }
  return all;
}

test('an answer without thinking has no reasoning field', async () => {
  const answer = await client.chat.completions.create(plain);
  assert.equal(answer.object, 'chat.completion');
  assert.match(answer.id, /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
  assert.ok(Math.abs(answer.created - Date.now() / 1000) < 60);
  assert.match(answer.system_fingerprint, /^fp_/);
  assert.equal(answer.choices.length, 1);
  const [choice] = answer.choices;
  assert.equal(choice.message.role, 'assistant');
  assert.equal(choice.message.content, greeting);
  assert.ok(!('reasoning_content' in choice.message));
  assert.ok(!('tool_calls' in choice.message));
  assert.equal(choice.logprobs, null);
  assert.equal(choice.finish_reason, 'stop');
  const { usage } = answer;
  assert.ok(usage.prompt_tokens > 3 && usage.completion_tokens > 3);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  assert.equal(usage.prompt_cache_hit_tokens + usage.prompt_cache_miss_tokens, usage.prompt_tokens);
  assert.equal(usage.completion_tokens_details.reasoning_tokens, 0);
  assert.ok(answer._request_id);
});

test('thinking is the default and has a field of its own', async () => {
  const answer = await client.chat.completions.create(thinking);
  const { message } = answer.choices[0];
  assert.equal(message.reasoning_content, 'A short reply is enough.');
  assert.equal(message.content, greeting);
  const { reasoning_tokens } = answer.usage.completion_tokens_details;
  assert.ok(reasoning_tokens > 0 && reasoning_tokens < answer.usage.completion_tokens);
});

test('the effort reaches the model by each spelling', async () => {
  const efforts = [
    [
      { reasoning_effort: 'max' },
      'This is small talk. No steps are needed. A short reply is enough.',
    ],
    [{ reasoning_effort: 'medium' }, 'A short reply is enough.'],
    [{ thinking: { type: 'enabled' } }, 'A short reply is enough.'],
    [{ reasoning_effort: 'none' }, undefined],
    [{ chat_template_kwargs: { thinking: false } }, undefined],
    [{ model: 'deepseek-chat' }, undefined],
  ];
  for (const [fields, reasoning] of efforts) {
    const answer = await client.chat.completions.create({ ...thinking, ...fields });
    assert.equal(answer.choices[0].message.reasoning_content, reasoning, JSON.stringify(fields));
  }
});

test('a stream says the same, in order, with usage at its end', async () => {
  for (const request of [plain, thinking]) {
    const whole = await client.chat.completions.create(request);
    const chunks = await collect(
      await client.chat.completions.create({
        ...request,
        stream: true,
        stream_options: { include_usage: true },
      })
    );
    const { message } = whole.choices[0];
    const joined = join(chunks);
    assert.equal(joined.content, message.content);
    assert.equal(joined.reasoning, message.reasoning_content ?? '');
    assert.equal(joined.finish, 'stop');
    assert.equal(chunks[0].choices[0].delta.role, 'assistant');
    for (const chunk of chunks) {
      assert.equal(chunk.object, 'chat.completion.chunk');
      assert.equal(chunk.id, chunks[0].id);
      assert.equal(chunk.choices.length, 1);
      assert.equal(chunk.usage === null, chunk !== chunks.at(-1));
    }
    const { prompt_tokens, completion_tokens } = chunks.at(-1).usage;
    assert.deepEqual(
      [prompt_tokens, completion_tokens],
      [whole.usage.prompt_tokens, whole.usage.completion_tokens]
    );
  }
});

test("the package's own accumulator understands the stream", async () => {
  const runner = client.chat.completions.stream({ ...plain });
  let text = '';
  runner.on('content', (delta) => (text += delta));
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].message.content, greeting);
  assert.equal(text, greeting);
});

test('a conversation goes on', async () => {
  const answer = await client.chat.completions.create({
    ...plain,
    messages: [
      ...hello,
      { role: 'assistant', content: greeting },
      { role: 'user', content: [{ type: 'text', text: 'Who are you?' }] },
    ],
  });
  assert.equal(answer.choices[0].message.content, 'I am a small demonstration model of fathom.');
});

test('log-probabilities belong to the text they come with', async () => {
  const request = { ...plain, logprobs: true, top_logprobs: 3 };
  const whole = await client.chat.completions.create(request);
  const entries = whole.choices[0].logprobs.content;
  const bytes = entries.flatMap((entry) => entry.bytes);
  assert.equal(Buffer.from(bytes).toString(), greeting);
  for (const entry of entries) {
    assert.equal(entry.logprob, 0); // temperature 0: the chosen token is certain
    assert.equal(entry.top_logprobs.length, 3);
    assert.equal(entry.top_logprobs[0].token, entry.token);
    assert.equal(entry.top_logprobs[1].logprob, -9999);
  }

  const chunks = await collect(await client.chat.completions.create({ ...request, stream: true }));
  for (const { delta, logprobs } of chunks.map((chunk) => chunk.choices[0])) {
    const text = Buffer.from((logprobs?.content ?? []).flatMap((entry) => entry.bytes));
    assert.equal(text.toString(), delta.content ?? '');
  }
  assert.deepEqual(
    chunks.flatMap((chunk) => chunk.choices[0].logprobs?.content ?? []),
    entries
  );
});

test('log-probabilities of a warm distribution', async () => {
  const answer = await client.chat.completions.create({
    ...plain,
    temperature: 1,
    seed: 1,
    logprobs: true,
    top_logprobs: 20,
  });
  for (const { top_logprobs } of answer.choices[0].logprobs.content) {
    assert.equal(top_logprobs.length, 20);
    const sum = top_logprobs.reduce((total, { logprob }) => total + Math.exp(logprob), 0);
    assert.ok(sum > 0.9 && sum < 1.0001, `${sum}`);
    for (let i = 1; i < 20; ++i) {
      assert.ok(top_logprobs[i - 1].logprob >= top_logprobs[i].logprob);
    }
  }
});

test('several choices of one prompt', async () => {
  const request = { ...plain, n: 2, temperature: 2, seed: 3, max_tokens: 24 };
  const whole = await client.chat.completions.create(request);
  assert.deepEqual(
    whole.choices.map((choice) => choice.index),
    [0, 1]
  );
  const texts = whole.choices.map((choice) => choice.message.content);
  assert.notEqual(texts[0], texts[1]);

  const chunks = await collect(await client.chat.completions.create({ ...request, stream: true }));
  assert.deepEqual([join(chunks, 0).content, join(chunks, 1).content], texts);
  const alone = await client.chat.completions.create({ ...request, n: 1 });
  assert.ok(whole.usage.completion_tokens > alone.usage.completion_tokens);
  assert.equal(whole.usage.prompt_tokens, alone.usage.prompt_tokens);
});

test('a seed repeats an answer, another one does not', async () => {
  const say = async (seed) => {
    const request = { ...plain, temperature: 2, max_tokens: 24, seed };
    return (await client.chat.completions.create(request)).choices[0].message.content;
  };
  const first = await say(7);
  assert.equal(await say(7), first);
  assert.notEqual(await say(8), first);
});

test('stop strings end an answer and are not in it', async () => {
  const cases = [
    [' can', 'Hello! How'],
    [['nowhere', ' can', '?'], 'Hello! How'],
    ['w can I', 'Hello! Ho'], // over the bounds of tokens
  ];
  for (const [stop, expected] of cases) {
    for (const stream of [false, true]) {
      const answer = await client.chat.completions.create({ ...plain, stop, stream });
      const joined = stream
        ? join(await collect(answer))
        : {
            content: answer.choices[0].message.content,
            finish: answer.choices[0].finish_reason,
          };
      assert.equal(joined.content, expected);
      assert.equal(joined.finish, 'stop');
    }
  }
});

test('the limit of tokens includes reasoning', async () => {
  const answer = await client.chat.completions.create({ ...thinking, max_tokens: 3 });
  const [choice] = answer.choices;
  assert.equal(choice.finish_reason, 'length');
  assert.equal(choice.message.content, '');
  assert.ok('A short reply is enough.'.startsWith(choice.message.reasoning_content));
  assert.equal(answer.usage.completion_tokens, 3);
  const other = await client.chat.completions.create({
    ...plain,
    max_tokens: 9,
    max_completion_tokens: 2,
  });
  assert.equal(other.usage.completion_tokens, 2);
});

test('logit_bias forbids a token', async () => {
  const free = await client.chat.completions.create({ ...plain, max_tokens: 1 });
  const hello_id = 600; // "Hello" in the bundled model's vocabulary
  const bound = await client.chat.completions.create({
    ...plain,
    max_tokens: 1,
    logit_bias: { [hello_id]: -100 },
  });
  assert.equal(free.choices[0].message.content, 'Hello');
  assert.notEqual(bound.choices[0].message.content, 'Hello');
});

test('a prefix is continued', async () => {
  const beta = client.withOptions({ baseURL: `${server.url}/beta` });
  const answer = await beta.chat.completions.create({
    ...plain,
    messages: [...hello, { role: 'assistant', content: 'Hello! How', prefix: true }],
  });
  assert.equal(answer.choices[0].message.content, ' can I help?');
});

test('json_object gives one JSON value', async () => {
  const messages = [
    { role: 'system', content: 'Reply in JSON.' },
    { role: 'user', content: 'mia is 34 and lives in cairo.' },
  ];
  const answer = await client.chat.completions.create({
    ...plain,
    messages,
    response_format: { type: 'json_object' },
  });
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), {
    name: 'mia',
    age: 34,
    city: 'cairo',
  });
});

// The model would say none of this by itself.
const schema = {
  type: 'object',
  properties: {
    colour: { type: 'string', enum: ['ultramarine', 'vermilion'] },
    pages: { type: 'array', items: { type: 'integer', minimum: 100, maximum: 999 }, maxItems: 3 },
    done: { type: 'boolean' },
  },
  required: ['colour', 'pages', 'done'],
  additionalProperties: false,
};
const format = { type: 'json_schema', json_schema: { name: 'book', schema, strict: true } };

function checkBook({ colour, pages, done, ...rest }) {
  assert.ok(schema.properties.colour.enum.includes(colour));
  assert.ok(Array.isArray(pages) && pages.length <= 3);
  for (const page of pages) assert.ok(Number.isInteger(page) && page >= 100 && page <= 999);
  assert.equal(typeof done, 'boolean');
  assert.deepEqual(rest, {});
}

test('json_schema binds an answer, with and without thinking', async () => {
  const request = { messages: hello, response_format: format, max_tokens: 500 };
  const direct = await client.chat.completions.parse({ ...plain, ...request });
  assert.equal(direct.choices[0].finish_reason, 'stop');
  checkBook(direct.choices[0].message.parsed);

  const thought = await client.chat.completions.parse({ ...thinking, ...request });
  assert.equal(thought.choices[0].finish_reason, 'stop');
  assert.ok(thought.choices[0].message.reasoning_content.length > 0);
  checkBook(thought.choices[0].message.parsed);

  const streamed = client.chat.completions.stream({ ...plain, ...request });
  checkBook((await streamed.finalChatCompletion()).choices[0].message.parsed);
});

test('warm answers obey the schema, too', async () => {
  const answer = await client.chat.completions.create({
    ...plain,
    temperature: 1.5,
    seed: 5,
    n: 4,
    response_format: format,
    max_tokens: 500,
  });
  for (const choice of answer.choices) {
    assert.equal(choice.finish_reason, 'stop');
    checkBook(JSON.parse(choice.message.content));
  }
});
