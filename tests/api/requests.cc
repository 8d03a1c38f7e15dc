#include "tests/api/requests.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace fathom::conformance {

const char* const kTools = R"([
  {"type":"function","function":{"name":"get_weather","description":"The weather.","parameters":
    {"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},
     "required":["city","days"],"additionalProperties":false}}},
  {"type":"function","function":{"name":"now"}},
  {"type":"function","function":{"name":"search","parameters":
    {"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},
     "required":["query"]}}}])";

namespace {

Json ToolsFor(Dialect dialect) {
  Json::Array out;
  const Json tools = Parse(kTools);
  for (const Json& tool : tools.array()) {
    Json::Object function = At(tool, "function").object();
    if (dialect == Dialect::kChat) {
      out.push_back(tool);
    } else if (dialect == Dialect::kResponses) {
      function.insert(function.begin(), {"type", "function"});
      out.push_back(std::move(function));
    } else {
      const Json schema = At(tool, "function.parameters");
      std::erase_if(function, [](const auto& member) { return member.first == "parameters"; });
      function.emplace_back("input_schema",
                            schema.is_null() ? Json::Object{{"type", "object"}} : schema);
      out.push_back(std::move(function));
    }
  }
  return out;
}

}  // namespace

std::string Target(Dialect dialect) {
  switch (dialect) {
    case Dialect::kChat:
      return "/v1/chat/completions";
    case Dialect::kCompletions:
      return "/v1/completions";
    case Dialect::kAnthropic:
      return "/anthropic/v1/messages";
    case Dialect::kResponses:
      break;
  }
  return "/v1/responses";
}

std::string With(const std::string& base, const std::string& changes) {
  Json json = Parse(base);
  if (changes.empty()) return base;
  const Json parsed = Parse(changes);
  for (const auto& [name, value] : parsed.object()) json.Set(name, value);
  return WriteJson(json);
}

std::string BodyFor(Dialect dialect, const Wish& wish) {
  Json::Object body = {{"model", "nano"}};
  const bool is_response = dialect == Dialect::kResponses;
  if (is_response) {
    body.emplace_back("input", wish.text);
    if (!wish.thinks) body.emplace_back("reasoning", Json::Object{{"effort", "none"}});
  } else {
    body.emplace_back("messages",
                      Json::Array{Json::Object{{"role", "user"}, {"content", wish.text}}});
    if (!wish.thinks) body.emplace_back("thinking", Json::Object{{"type", "disabled"}});
  }
  if (wish.stream) body.emplace_back("stream", true);
  if (wish.has_tools) body.emplace_back("tools", ToolsFor(dialect));
  if (wish.max_tokens || dialect == Dialect::kAnthropic)
    body.emplace_back(is_response ? "max_output_tokens" : "max_tokens",
                      wish.max_tokens.value_or(1000));
  return With(WriteJson(body), wish.more);
}

Answer Read(Dialect dialect, const Reply& reply) {
  if (dialect == Dialect::kChat) return ReadChat(reply)[0];
  if (dialect == Dialect::kCompletions) return ReadCompletion(reply);
  Answer answer = dialect == Dialect::kAnthropic ? ReadMessage(reply) : ReadResponse(reply);
  if (answer.end == "end_turn") answer.end = "stop";
  if (answer.end == "tool_use") answer.end = "tool_calls";
  if (answer.end == "max_tokens" || answer.end == "incomplete max_output_tokens")
    answer.end = "length";
  if (answer.end == "completed") answer.end = answer.calls.empty() ? "stop" : "tool_calls";
  return answer;
}

Answer Put(TestServer& server, Dialect dialect, const Wish& wish) {
  SCOPED_TRACE(ShowWish(dialect, wish));
  return Read(dialect, server.Post(Target(dialect), BodyFor(dialect, wish)));
}

std::string ShowWish(Dialect dialect, const Wish& wish) {
  return Target(dialect) + " " + BodyFor(dialect, wish).substr(0, 500);
}

ServerSetup LongAnswers() {
  std::string text;
  for (int i = 0; i < 2300; ++i) text += fmt::format(" {}", i);
  ServerSetup setup;
  for (int i = 0; i < 48; ++i) {
    setup.script.emplace_back("[long]", text);
    setup.script.emplace_back("Hello", "Hello! How can I help?");
  }
  return setup;
}

Wish LongWish(bool stream) { return {.text = "[long]", .stream = stream, .max_tokens = 8000}; }

std::string Block(const std::string& invokes) {
  return "\n\n<｜DSML｜tool_calls>\n" + invokes + "</｜DSML｜tool_calls>";
}

std::string Invoke(const std::string& name, const std::string& parameters) {
  return fmt::format("<｜DSML｜invoke name=\"{}\">\n{}</｜DSML｜invoke>\n", name, parameters);
}

std::string TextParameter(const std::string& name, const std::string& value) {
  return fmt::format("<｜DSML｜parameter name=\"{}\" string=\"true\">{}</｜DSML｜parameter>\n",
                     name, value);
}

std::string JsonParameter(const std::string& name, const std::string& value) {
  return fmt::format("<｜DSML｜parameter name=\"{}\" string=\"false\">{}</｜DSML｜parameter>\n",
                     name, value);
}

}  // namespace fathom::conformance
