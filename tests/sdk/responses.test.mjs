// Responses through the `openai` package.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { collect, startServer, time, toolCalls, weather } from './server.mjs';

const patch = '*** Begin Patch\n*** Add File: a.txt\n+"a"\n*** End Patch';
const paris = toolCalls({ name: 'get_weather', input: { city: 'Paris' } });
const script = [
  { match: 'In Paris?', completion: `I ask.</think>Wait.${paris}` },
  { match: 'In Paris?', completion: `I ask.</think>Wait.${paris}` },
  { match: '<tool_result>mild</tool_result>', completion: 'It said so.</think>Mild in Paris.' },
  {
    match: 'Add a file',
    completion: `Patch.</think>${toolCalls({ name: 'apply_patch', input: { input: patch } })}`,
  },
  { match: '<tool_result>patched</tool_result>', completion: 'Good.</think>Added.' },
  {
    match: 'In a namespace',
    completion: `Time.</think>${toolCalls({ name: 'get_time', input: {} })}`,
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

const model = 'deepseek-v4-flash';
const plain = { model, input: 'Hello', temperature: 0, reasoning: { effort: 'none' } };
const greeting = 'Hello! How can I help?';
const asFunction = ({ name, description, schema }) => ({
  type: 'function',
  name,
  description,
  parameters: schema,
  strict: false,
});
const tools = [weather, time].map(asFunction);
const ofType = (response, type) => response.output.filter((item) => item.type === type);

test('an answer without reasoning is one message', async () => {
  const response = await client.responses.create(plain);
  assert.equal(response.object, 'response');
  assert.match(response.id, /^resp_/);
  assert.equal(response.status, 'completed');
  assert.equal(response.error, null);
  assert.equal(response.output_text, greeting);
  assert.deepEqual(
    response.output.map((item) => item.type),
    ['message']
  );
  assert.equal(response.usage.output_tokens_details.reasoning_tokens, 0);
  assert.equal(
    response.usage.total_tokens,
    response.usage.input_tokens + response.usage.output_tokens
  );
});

test('reasoning is an item of its own, and comes back', async () => {
  const response = await client.responses.create({ model, input: 'Hello', max_output_tokens: 400 });
  const [reasoning] = response.output;
  assert.equal(reasoning.type, 'reasoning');
  assert.equal(reasoning.content[0].type, 'reasoning_text');
  assert.ok(reasoning.content[0].text.length > 0);

  const next = await client.responses.create({
    ...plain,
    input: [
      { role: 'user', content: 'Hello' },
      ...response.output,
      { role: 'user', content: [{ type: 'input_text', text: 'Who are you?' }] },
    ],
  });
  assert.match(next.output_text, /fathom/);
});

// Every item that begins also ends, and the final response repeats what the events said.
function checkStream(events) {
  events.forEach((event, i) => assert.equal(event.sequence_number, i));
  assert.deepEqual(
    events.slice(0, 2).map((event) => event.type),
    ['response.created', 'response.in_progress']
  );
  const items = [];
  const texts = {};
  for (const event of events) {
    const { type, item_id: id } = event;
    if (type === 'response.output_item.added') assert.equal(event.output_index, items.length);
    if (type === 'response.output_item.done') items.push(event.item);
    if (type.endsWith('.delta')) texts[id] = (texts[id] ?? '') + event.delta;
    if (type.endsWith('_text.done')) assert.equal(texts[id], event.text);
    if (type === 'response.function_call_arguments.done') assert.equal(texts[id], event.arguments);
    if (type === 'response.custom_tool_call_input.done') assert.equal(texts[id], event.input);
  }
  const { type, response } = events.at(-1);
  assert.ok(['response.completed', 'response.incomplete'].includes(type), type);
  assert.deepEqual(response.output, items);
  assert.ok(response.usage.output_tokens > 0);
  return response;
}

test('a stream of text', async () => {
  const events = await collect(await client.responses.create({ ...plain, stream: true }));
  const response = checkStream(events);
  assert.equal(response.output[0].content[0].text, greeting);
});

test('the limit leaves a response incomplete', async () => {
  for (const stream of [false, true]) {
    const answer = await client.responses.create({ ...plain, stream, max_output_tokens: 2 });
    const response = stream ? checkStream(await collect(answer)) : answer;
    assert.equal(response.status, 'incomplete');
    assert.equal(response.incomplete_details.reason, 'max_output_tokens');
  }
});

test('a call, its output, an answer', async () => {
  const first = { role: 'user', content: 'In Paris?' };
  const called = await actor.responses.create({ model, tools, input: [first] });
  assert.equal(called.output_text, 'Wait.');
  const [call] = ofType(called, 'function_call');
  assert.equal(call.name, 'get_weather');
  assert.equal(call.arguments, '{"city": "Paris"}');

  const streamed = await collect(
    await actor.responses.create({ model, tools, input: [first], stream: true })
  );
  const response = checkStream(streamed);
  assert.deepEqual(
    response.output.map((item) => item.type),
    ['reasoning', 'message', 'function_call']
  );

  const answered = await actor.responses.create({
    model,
    tools,
    input: [
      first,
      ...response.output,
      {
        type: 'function_call_output',
        call_id: response.output[2].call_id,
        output: [{ type: 'input_text', text: 'mild' }],
      },
    ],
  });
  assert.equal(answered.output_text, 'Mild in Paris.');
});

test("the package's own accumulator understands the stream", async () => {
  const final = await client.responses
    .stream({ ...plain, tools, input: 'What is the weather in oslo?' })
    .finalResponse();
  const [call] = ofType(final, 'function_call');
  assert.deepEqual(JSON.parse(call.arguments), { city: 'oslo' });
});

test('apply_patch is a custom tool', async () => {
  const request = {
    model,
    tools: [{ type: 'custom', name: 'apply_patch' }, { type: 'web_search' }],
  };
  const first = { role: 'user', content: 'Add a file' };
  const called = checkStream(
    await collect(await actor.responses.create({ ...request, input: [first], stream: true }))
  );
  const [call] = ofType(called, 'custom_tool_call');
  assert.equal(call.name, 'apply_patch');
  assert.equal(call.input, patch);
  const answered = await actor.responses.create({
    ...request,
    input: [
      first,
      ...called.output,
      { type: 'custom_tool_call_output', call_id: call.call_id, output: 'patched' },
    ],
  });
  assert.equal(answered.output_text, 'Added.');
});

test('functions of a namespace keep its name', async () => {
  const response = await actor.responses.create({
    model,
    input: 'In a namespace',
    tools: [
      { type: 'namespace', name: 'clock', description: 'Clocks.', tools: [asFunction(time)] },
    ],
  });
  const [call] = ofType(response, 'function_call');
  assert.equal(call.name, 'get_time');
  assert.equal(call.namespace, 'clock');
});

test('text.format binds an answer', async () => {
  const schema = {
    type: 'object',
    properties: { mood: { type: 'string', enum: ['sanguine', 'choleric'] } },
    required: ['mood'],
    additionalProperties: false,
  };
  const response = await client.responses.parse({
    ...plain,
    text: { format: { type: 'json_schema', name: 'mood', schema, strict: true } },
  });
  assert.ok(schema.properties.mood.enum.includes(response.output_parsed.mood));
});

test('log-probabilities when included', async () => {
  const response = await client.responses.create({
    ...plain,
    include: ['message.output_text.logprobs'],
    top_logprobs: 2,
  });
  const { logprobs } = response.output[0].content[0];
  assert.equal(Buffer.from(logprobs.flatMap((entry) => entry.bytes)).toString(), greeting);
});

test('input tokens are counted as the request would count them', async () => {
  const request = { model, instructions: 'Be brief.', input: 'Hello', tools };
  const counted = await client.responses.inputTokens.count(request);
  assert.equal(counted.object, 'response.input_tokens');
  const response = await client.responses.create({ ...request, max_output_tokens: 1 });
  assert.equal(counted.input_tokens, response.usage.input_tokens);
});

test('what Responses refuse', async () => {
  await assert.rejects(client.responses.create({ model }), OpenAI.BadRequestError);
  await assert.rejects(
    client.responses.create({ ...plain, previous_response_id: 'resp_1' }),
    OpenAI.BadRequestError
  );
  await assert.rejects(
    client.responses.create({
      ...plain,
      input: [{ type: 'function_call_output', call_id: 'call_x', output: 'x' }],
    }),
    OpenAI.BadRequestError
  );
  await assert.rejects(client.responses.retrieve('resp_1'), OpenAI.NotFoundError);
  await assert.rejects(client.responses.delete('resp_1'), OpenAI.NotFoundError);
});
