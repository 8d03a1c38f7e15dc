// Anthropic Messages through the `@anthropic-ai/sdk` package.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { collect, startServer, time, toolCalls, weather } from './server.mjs';

const paris = toolCalls({ name: 'get_weather', input: { city: 'Paris' } });
const script = [
  { match: 'In Paris?', completion: `I ask.</think>Wait.${paris}` },
  { match: '<tool_result>mild</tool_result>', completion: 'It said so.</think>Mild in Paris.' },
  {
    match: 'Streamed',
    completion: `Two.</think>${toolCalls(
      { name: 'get_weather', input: { city: 'Zürich\n"🏔"', days: 3 } },
      { name: 'get_time', input: {} }
    )}`,
  },
  { match: 'Run them', completion: `One.</think>${paris}` },
  { match: 'Run them', completion: 'Done.</think>Mild.' },
  { match: 'Think of nothing', completion: '</think>Nothing.' },
];

let server;
let scripted;
let client;
let actor;
before(async () => {
  [server, scripted] = await Promise.all([startServer(), startServer({ script })]);
  client = new Anthropic({ apiKey: 'any', baseURL: `${server.url}/anthropic`, maxRetries: 0 });
  actor = client.withOptions({ baseURL: `${scripted.url}/anthropic` });
});
after(() => Promise.all([server.stop(), scripted.stop()]));

const model = 'deepseek-v4-flash';
const hello = [{ role: 'user', content: 'Hello' }];
const plain = {
  model,
  messages: hello,
  max_tokens: 400,
  temperature: 0,
  thinking: { type: 'disabled' },
};
const greeting = 'Hello! How can I help?';
const asTool = ({ name, description, schema }) => ({ name, description, input_schema: schema });
const tools = [weather, time].map(asTool);

test('an answer without thinking is one text block', async () => {
  const message = await client.messages.create(plain);
  assert.match(message.id, /^msg_/);
  assert.equal(message.type, 'message');
  assert.equal(message.role, 'assistant');
  assert.deepEqual(message.content, [{ type: 'text', text: greeting }]);
  assert.equal(message.stop_reason, 'end_turn');
  assert.equal(message.stop_sequence, null);
  assert.ok(message.usage.input_tokens > 3 && message.usage.output_tokens > 3);
  assert.ok(message._request_id);
});

test('thinking is a signed block, and comes back', async () => {
  const message = await client.messages.create({ model, messages: hello, max_tokens: 400 });
  const [thought, text] = message.content;
  assert.equal(thought.type, 'thinking');
  assert.ok(thought.thinking.length > 0 && thought.signature.length > 0);
  assert.equal(text.type, 'text');

  const next = await client.messages.create({
    ...plain,
    messages: [
      ...hello,
      { role: 'assistant', content: message.content },
      { role: 'user', content: 'Who are you?' },
    ],
  });
  assert.match(next.content[0].text, /fathom/);
});

test('a thinking block comes even when it is empty', async () => {
  const message = await actor.messages.create({
    model,
    max_tokens: 400,
    messages: [{ role: 'user', content: 'Think of nothing' }],
  });
  assert.equal(message.content[0].type, 'thinking');
  assert.equal(message.content[0].thinking, '');
  assert.equal(message.content[1].text, 'Nothing.');
});

// The order of events: one block open at a time, indices without gaps.
function checkStream(events) {
  assert.equal(events[0].type, 'message_start');
  assert.deepEqual(events[0].message.content, []);
  let open = null;
  let blocks = 0;
  for (const { type, index } of events) {
    if (type === 'content_block_start') {
      assert.deepEqual([open, index], [null, blocks]);
      open = blocks++;
    }
    if (type === 'content_block_delta') assert.equal(index, open);
    if (type === 'content_block_stop') {
      assert.equal(index, open);
      open = null;
    }
  }
  assert.deepEqual(
    events.slice(-2).map((event) => event.type),
    ['message_delta', 'message_stop']
  );
  assert.ok(events.at(-2).usage.output_tokens > 0);
}

test('a stream says the same', async () => {
  const events = await collect(await client.messages.create({ ...plain, stream: true }));
  checkStream(events);
  const text = events.map((event) => event.delta?.text ?? '').join('');
  assert.equal(text, greeting);

  const thinking = await collect(
    await client.messages.create({ model, messages: hello, max_tokens: 400, stream: true })
  );
  checkStream(thinking);
  const kinds = thinking.map((event) => event.delta?.type).filter(Boolean);
  assert.equal(kinds.filter((kind) => kind === 'signature_delta').length, 1);
  assert.ok(kinds.indexOf('thinking_delta') < kinds.indexOf('signature_delta'));
});

test("the package's own accumulator understands calls", async () => {
  const stream = actor.messages.stream({
    model,
    tools,
    max_tokens: 400,
    messages: [{ role: 'user', content: 'Streamed' }],
  });
  const message = await stream.finalMessage();
  assert.equal(message.stop_reason, 'tool_use');
  assert.deepEqual(
    message.content.map((block) => block.type),
    ['thinking', 'tool_use', 'tool_use']
  );
  assert.deepEqual(message.content[1].input, { city: 'Zürich\n"🏔"', days: 3 });
  assert.deepEqual(message.content[2].input, {});
  assert.match(message.content[1].id, /^toolu_[A-Za-z0-9]{24}$/);
});

test('a call, its result, an answer', async () => {
  const ask = { role: 'user', content: [{ type: 'text', text: 'In Paris?' }] };
  const request = { model, tools, max_tokens: 400 };
  const called = await actor.messages.create({ ...request, messages: [ask] });
  assert.equal(called.stop_reason, 'tool_use');
  const [thought, text, call] = called.content;
  assert.equal(thought.thinking, 'I ask.');
  assert.equal(text.text, 'Wait.');
  assert.deepEqual([call.name, call.input], ['get_weather', { city: 'Paris' }]);

  const answered = await actor.messages.create({
    ...request,
    messages: [
      ask,
      { role: 'assistant', content: called.content },
      {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: call.id,
            content: [{ type: 'text', text: 'mild' }],
            cache_control: { type: 'ephemeral' },
          },
        ],
      },
    ],
  });
  assert.equal(answered.stop_reason, 'end_turn');
  assert.equal(answered.content.at(-1).text, 'Mild in Paris.');
});

test('the bundled model calls a tool by itself', async () => {
  const messages = [{ role: 'user', content: 'What is the weather in oslo?' }];
  const message = await client.messages.create({ ...plain, tools, messages });
  assert.deepEqual(message.content[0].input, { city: 'oslo' });
});

test("the package's own tool loop runs to its end", async () => {
  const runner = actor.beta.messages.toolRunner({
    model,
    max_tokens: 400,
    messages: [{ role: 'user', content: 'Run them' }],
    tools: [{ ...tools[0], run: ({ city }) => `mild in ${city}`, parse: (input) => input }],
  });
  const message = await runner;
  assert.equal(message.content.at(-1).text, 'Mild.');
  assert.match(JSON.stringify(runner.params.messages), /mild in Paris/);
});

test('stop sequences are told and not in the text', async () => {
  for (const stream of [false, true]) {
    const request = { ...plain, stop_sequences: ['nowhere', ' can'] };
    const message = stream
      ? await client.messages.stream(request).finalMessage()
      : await client.messages.create(request);
    assert.equal(message.content[0].text, 'Hello! How');
    assert.equal(message.stop_reason, 'stop_sequence');
    assert.equal(message.stop_sequence, ' can');
  }
});

test('the limit of tokens', async () => {
  const message = await client.messages.create({ ...plain, max_tokens: 2 });
  assert.equal(message.stop_reason, 'max_tokens');
  assert.equal(message.usage.output_tokens, 2);
});

test('a final assistant message is continued', async () => {
  const message = await client.messages.create({
    ...plain,
    messages: [...hello, { role: 'assistant', content: 'Hello! How' }],
  });
  assert.equal(message.content[0].text, ' can I help?');
});

test('tool_choice forces and names', async () => {
  for (const tool_choice of [{ type: 'any' }, { type: 'tool', name: 'get_time' }]) {
    const message = await client.messages.create({ ...plain, tools, tool_choice });
    const call = message.content.find((block) => block.type === 'tool_use');
    assert.ok(call, JSON.stringify(message));
    if (tool_choice.name) assert.equal(call.name, tool_choice.name);
  }
});

test('output_config.format binds an answer', async () => {
  const schema = {
    type: 'object',
    properties: { mood: { type: 'string', enum: ['sanguine', 'choleric'] } },
    required: ['mood'],
    additionalProperties: false,
  };
  const message = await client.messages.create({
    ...plain,
    output_config: { format: { type: 'json_schema', schema } },
  });
  assert.ok(schema.properties.mood.enum.includes(JSON.parse(message.content[0].text).mood));
});

test('count_tokens counts as the request would', async () => {
  const request = {
    model,
    tools,
    system: [
      { type: 'text', text: 'x-anthropic-billing-header: cc_version=1;' },
      { type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } },
    ],
    messages: hello,
  };
  const counted = await client.messages.countTokens(request);
  const message = await client.messages.create({ ...request, max_tokens: 1 });
  const { input_tokens, cache_read_input_tokens } = message.usage;
  assert.equal(counted.input_tokens, input_tokens + cache_read_input_tokens);

  const short = await client.beta.messages.countTokens({ model, messages: hello });
  assert.ok(short.input_tokens < counted.input_tokens);
});

test('models in the shape of this API', async () => {
  const models = await collect(await client.models.list());
  assert.equal(models[0].type, 'model');
  assert.ok(models[0].id && models[0].display_name && models[0].created_at);
});

test('errors are of the kinds the package knows', async () => {
  const refused = async (more, kind, text) => {
    const error = await client.messages.create({ ...plain, ...more }).then(
      () => assert.fail(`accepted: ${JSON.stringify(more)}`),
      (caught) => caught
    );
    assert.ok(error instanceof kind, `${error}`);
    assert.match(error.message, text);
    assert.equal(error.error.type, 'error');
    assert.equal(error.error.error.type, 'invalid_request_error');
    assert.match(error.error.request_id, /^req_/);
  };
  await refused(
    { temperature: 3 },
    Anthropic.BadRequestError,
    /valid range of temperature is \[0, 2\]/
  );
  await refused({ messages: [] }, Anthropic.BadRequestError, /Empty input messages/);
  await refused({ max_tokens: 0 }, Anthropic.BadRequestError, /max_tokens/);
  await refused(
    { messages: [{ role: 'narrator', content: 'x' }] },
    Anthropic.BadRequestError,
    /unknown variant/
  );
  await assert.rejects(client.post('/v1/nothing', { body: {} }), Anthropic.NotFoundError);
});
