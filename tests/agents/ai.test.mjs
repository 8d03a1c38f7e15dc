// Vercel's AI SDK, over Chat Completions and over Responses.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, Output, stepCountIs, streamText, tool } from 'ai';
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
  const script = ['Whole', 'Streamed', 'Responded'].flatMap(loop);
  [server, scripted] = await Promise.all([startServer(), startServer({ script })]);
});
after(() => Promise.all([server.stop(), scripted.stop()]));

const chat = (url) =>
  createOpenAICompatible({ name: 'fathom', baseURL: `${url}/v1`, supportsStructuredOutputs: true })(
    'deepseek-v4-flash'
  );

const request = (model, prompt) => {
  const cities = [];
  const get_weather = tool({
    description: 'Get the weather of a city.',
    inputSchema: z.object({ city: z.string() }),
    execute: ({ city }) => (cities.push(city), 'mild'),
  });
  return { cities, model, prompt, tools: { get_weather }, stopWhen: stepCountIs(3), maxRetries: 0 };
};

test('generateText runs a tool and answers', async () => {
  const { cities, ...options } = request(chat(scripted.url), 'Whole');
  const result = await generateText(options);
  assert.deepEqual(cities, ['Paris']);
  assert.equal(result.text, 'Mild in Paris.');
  assert.equal(result.steps.length, 2);
  assert.equal(result.steps[0].reasoningText, 'I ask.');
  assert.equal(result.steps[0].finishReason, 'tool-calls');
});

test('streamText runs a tool and answers', async () => {
  const { cities, ...options } = request(chat(scripted.url), 'Streamed');
  const result = streamText(options);
  let text = '';
  for await (const delta of result.textStream) text += delta;
  assert.deepEqual(cities, ['Paris']);
  assert.match(text, /Mild in Paris\.$/);
  const steps = await result.steps;
  assert.equal(steps[1].reasoningText, 'It said so.');
  assert.ok(steps[0].usage.outputTokens > 0);
});

test('the provider of Responses runs a tool and answers', async () => {
  const provider = createOpenAI({ apiKey: 'any', baseURL: `${scripted.url}/v1` });
  const { cities, ...options } = request(provider('deepseek-v4-flash'), 'Responded');
  const result = await generateText(options);
  assert.deepEqual(cities, ['Paris']);
  assert.equal(result.text, 'Mild in Paris.');
});

test('an object of a schema', async () => {
  const { output } = await generateText({
    model: chat(server.url),
    prompt: 'Hello',
    maxRetries: 0,
    output: Output.object({ schema: z.object({ mood: z.enum(['sanguine', 'choleric']) }) }),
  });
  assert.ok(['sanguine', 'choleric'].includes(output.mood));
});
