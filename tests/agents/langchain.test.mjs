// LangChain's classes for Chat Completions, Responses and Anthropic Messages.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ChatAnthropic } from '@langchain/anthropic';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { z } from 'zod';
import { startServer, toolCalls } from './server.mjs';

const call = toolCalls({ name: 'get_weather', input: { city: 'Paris' } });
const loop = (title) => [
  { match: title, completion: `I ask.</think>Wait.${call}` },
  { match: title, completion: 'It said so.</think>Mild in Paris.' },
];

let server;
let scripted;
before(async () => {
  const script = ['Chat?', 'Streamed?', 'Responses?', 'Messages?'].flatMap(loop);
  [server, scripted] = await Promise.all([startServer(), startServer({ script })]);
});
after(() => Promise.all([server.stop(), scripted.stop()]));

const openai = (url, more = {}) =>
  new ChatOpenAI({
    model: 'deepseek-v4-flash',
    apiKey: 'any',
    maxRetries: 0,
    configuration: { baseURL: `${url}/v1` },
    ...more,
  });

const whole = (model, messages) => model.invoke(messages);
async function streamed(model, messages) {
  let all;
  for await (const chunk of await model.stream(messages)) all = all ? all.concat(chunk) : chunk;
  return all;
}

async function runLoop(model, question, say = whole) {
  const cities = [];
  const getWeather = tool(({ city }) => (cities.push(city), 'mild'), {
    name: 'get_weather',
    description: 'Get the weather of a city.',
    schema: z.object({ city: z.string() }),
  });
  const bound = model.bindTools([getWeather]);
  const messages = [new HumanMessage(question)];
  const asked = await say(bound, messages);
  assert.equal(asked.tool_calls.length, 1);
  const [{ id, name, args }] = asked.tool_calls;
  assert.equal(name, 'get_weather');
  messages.push(
    asked,
    new ToolMessage({ tool_call_id: id, content: await getWeather.invoke(args) })
  );
  const answered = await say(bound, messages);
  assert.deepEqual(cities, ['Paris']);
  assert.match(answered.text, /Mild in Paris\.$/);
  assert.ok(answered.usage_metadata.output_tokens > 0);
}

test('ChatOpenAI runs a tool and answers', () => runLoop(openai(scripted.url), 'Chat?'));

test('ChatOpenAI does so when it streams', () =>
  runLoop(openai(scripted.url), 'Streamed?', streamed));

test('ChatOpenAI does so over Responses', () =>
  runLoop(openai(scripted.url, { useResponsesApi: true }), 'Responses?'));

test('ChatAnthropic runs a tool and answers', () => {
  const model = new ChatAnthropic({
    model: 'deepseek-v4-flash',
    apiKey: 'any',
    maxRetries: 0,
    anthropicApiUrl: `${scripted.url}/anthropic`,
  });
  return runLoop(model, 'Messages?');
});

test('structured output, by schema and by a named tool', async () => {
  const schema = z.object({ mood: z.enum(['sanguine', 'choleric']) });
  for (const method of ['jsonSchema', 'functionCalling']) {
    const model = openai(server.url, { temperature: 0 });
    const { mood } = await model
      .withStructuredOutput(schema, { name: 'mood', method, strict: true })
      .invoke('Hello');
    assert.ok(['sanguine', 'choleric'].includes(mood), method);
  }
});
