// Tools of Chat Completions through the `openai` package. The bundled model calls these tools by
// itself; what it cannot do is scripted.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { collect, startServer, time, toolCalls, weather } from './server.mjs';

const paris = toolCalls({ name: 'get_weather', input: { city: 'Paris' } });
const both = toolCalls(
  {
    name: 'get_weather',
    input: { city: 'Zürich "old town"\n🏔', days: [1, { a: null }], in_f: false },
  },
  { name: 'get_time', input: {} }
);
// In the order in which the tests ask.
const script = [
  { match: 'In Paris?', completion: `I ask.</think>Wait.${paris}` },
  { match: 'In Paris?', completion: 'It said so.</think>Mild in Paris.' },
  { match: 'Two at once', completion: `Both.</think>${both}` },
  { match: 'Two at once', completion: `Both.</think>${both}` },
  { match: 'Run them', completion: `One.</think>${paris}` },
  {
    match: 'Run them',
    completion: `Two.</think>${toolCalls({ name: 'get_time', input: { city: 'Oslo' } })}`,
  },
  { match: 'Run them', completion: 'Done.</think>Noon, and mild.' },
  {
    match: 'Cut short',
    completion: toolCalls({ name: 'get_weather', input: { city: 'x'.repeat(400) } }),
  },
];

let server;
let scripted;
let client;
let actor;
before(async () => {
  [server, scripted] = await Promise.all([startServer(), startServer({ script })]);
  client = new OpenAI({ apiKey: 'any', baseURL: `${server.url}/v1`, maxRetries: 0 });
  actor = client.withOptions({ baseURL: `${scripted.url}/v1` });
});
after(() => Promise.all([server.stop(), scripted.stop()]));

const asFunction = ({ name, description, schema }) => ({
  type: 'function',
  function: { name, description, parameters: schema },
});
const tools = [weather, time].map(asFunction);
const plain = {
  model: 'deepseek-v4-flash',
  tools,
  temperature: 0,
  thinking: { type: 'disabled' },
};
const ask = (content) => [{ role: 'user', content }];
const oslo = ask('What is the weather in oslo?');

test('a call, its result, an answer', async () => {
  const called = await client.chat.completions.create({ ...plain, messages: oslo });
  const [choice] = called.choices;
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.equal(choice.message.content, '');
  const [call, ...others] = choice.message.tool_calls;
  assert.deepEqual(others, []);
  assert.match(call.id, /^call_00_[A-Za-z0-9]{24}$/);
  assert.equal(call.type, 'function');
  assert.deepEqual(call.function, { name: 'get_weather', arguments: '{"city": "oslo"}' });

  const answered = await client.chat.completions.create({
    ...plain,
    messages: [
      ...oslo,
      choice.message,
      { role: 'tool', tool_call_id: call.id, content: 'rain, 12 degrees' },
    ],
  });
  assert.equal(answered.choices[0].finish_reason, 'stop');
  assert.equal(answered.choices[0].message.content, 'The weather in oslo is rain, 12 degrees.');
});

test('a streamed call names itself once and its arguments come in pieces', async () => {
  const chunks = await collect(
    await client.chat.completions.create({ ...plain, messages: oslo, stream: true })
  );
  const deltas = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
  const [first, ...rest] = deltas;
  assert.equal(first.index, 0);
  assert.equal(first.function.name, 'get_weather');
  assert.equal(first.function.arguments, '');
  for (const delta of rest) assert.deepEqual(Object.keys(delta).sort(), ['function', 'index']);
  assert.equal(rest.map((delta) => delta.function.arguments).join(''), '{"city": "oslo"}');
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'tool_calls');
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join(''), '');
});

test('reasoning, text and a call in one answer; all come back', async () => {
  const request = { model: plain.model, tools };
  const called = await actor.chat.completions.create({ ...request, messages: ask('In Paris?') });
  const { message } = called.choices[0];
  assert.equal(message.reasoning_content, 'I ask.');
  assert.equal(message.content, 'Wait.');
  assert.equal(message.tool_calls[0].function.arguments, '{"city": "Paris"}');

  const answered = await actor.chat.completions.create({
    ...request,
    messages: [
      ...ask('In Paris?'),
      message,
      { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'mild' },
    ],
  });
  assert.equal(answered.choices[0].message.content, 'Mild in Paris.');
});

test('calls side by side, with values of every kind', async () => {
  const request = { model: plain.model, tools, messages: ask('Two at once') };
  const whole = await actor.chat.completions.create(request);
  const final = await actor.chat.completions.stream(request).finalChatCompletion();
  for (const answer of [whole, final]) {
    const calls = answer.choices[0].message.tool_calls;
    assert.deepEqual(
      calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
      [
        ['get_weather', { city: 'Zürich "old town"\n🏔', days: [1, { a: null }], in_f: false }],
        ['get_time', {}],
      ]
    );
    assert.notEqual(calls[0].id, calls[1].id);
  }
});

test("the package's own tool loop runs to its end", async () => {
  const seen = [];
  const runnable = (tool, result) => ({
    type: 'function',
    function: {
      name: tool.name,
      description: tool.description,
      parameters: tool.schema,
      parse: JSON.parse,
      function: (input) => (seen.push([tool.name, input.city]), result),
    },
  });
  const runner = actor.chat.completions.runTools({
    model: plain.model,
    stream: true,
    messages: ask('Run them'),
    tools: [runnable(weather, 'mild'), runnable(time, 'noon')],
  });
  assert.equal(await runner.finalContent(), 'Noon, and mild.');
  assert.deepEqual(seen, [
    ['get_weather', 'Paris'],
    ['get_time', 'Oslo'],
  ]);
});

test('a call cut by the limit can never pass as complete', async () => {
  const answer = await actor.chat.completions.create({
    ...plain,
    messages: ask('Cut short'),
    max_tokens: 60,
  });
  const [choice] = answer.choices;
  assert.equal(choice.finish_reason, 'length');
  assert.throws(() => JSON.parse(choice.message.tool_calls[0].function.arguments));
});

test('tool_choice forces, names and forbids', async () => {
  const hello = ask('Hello'); // the model would only greet
  const choose = async (tool_choice, more = {}) =>
    (
      await client.chat.completions.create({
        ...plain,
        messages: hello,
        max_tokens: 200,
        tool_choice,
        ...more,
      })
    ).choices[0];

  assert.equal((await choose('auto')).finish_reason, 'stop');
  const forced = await choose('required');
  assert.equal(forced.finish_reason, 'tool_calls');
  assert.ok(['get_weather', 'get_time'].includes(forced.message.tool_calls[0].function.name));
  const named = await choose({ type: 'function', function: { name: 'get_time' } });
  assert.equal(named.message.tool_calls[0].function.name, 'get_time');
  const thought = await choose(
    { type: 'function', function: { name: 'get_time' } },
    {
      thinking: { type: 'enabled' },
      seed: 1,
    }
  );
  assert.ok(thought.message.reasoning_content.length > 0);
  assert.equal(thought.message.tool_calls[0].function.name, 'get_time');

  const forbidden = await client.chat.completions.create({
    ...plain,
    messages: oslo,
    tool_choice: 'none',
    max_tokens: 50,
  });
  assert.ok(!forbidden.choices[0].message.tool_calls);
  assert.doesNotMatch(forbidden.choices[0].message.content, /DSML/);
});

test('strict tools get arguments of their schema', async () => {
  const strict = {
    type: 'function',
    function: {
      name: 'set_mode',
      strict: true,
      parameters: {
        type: 'object',
        properties: {
          mode: { type: 'string', enum: ['economy', 'overdrive'] },
          level: { type: 'integer', minimum: 1, maximum: 9 },
        },
        required: ['mode', 'level'],
        additionalProperties: false,
      },
    },
  };
  const answer = await client.chat.completions.create({
    ...plain,
    messages: ask('Hello'),
    tools: [strict],
    tool_choice: 'required',
    parallel_tool_calls: false,
    temperature: 1,
    seed: 2,
    max_tokens: 300,
  });
  const [call, ...others] = answer.choices[0].message.tool_calls;
  assert.deepEqual(others, []);
  const { mode, level, ...rest } = JSON.parse(call.function.arguments);
  assert.ok(['economy', 'overdrive'].includes(mode), mode);
  assert.ok(Number.isInteger(level) && level >= 1 && level <= 9, `${level}`);
  assert.deepEqual(rest, {});
});
