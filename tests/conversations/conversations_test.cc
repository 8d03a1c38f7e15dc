// Turn after turn of agents' conversations over HTTP: what an earlier request of a conversation or
// its answer shares with a prompt comes from the cache, and where something is missing the record
// says why. How much is shared is found out beside the server, from the ids of prompts and answers.
// FATHOM_CONVERSATIONS says how many conversations there are.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "api/request.h"
#include "chat/output_parser.h"
#include "chat/templates.h"
#include "server/model_text.h"
#include "server/pipeline.h"
#include "tests/conversations/conversation.h"
#include "tests/conversations/plan.h"
#include "tests/faults/client.h"

namespace fathom::conversations {
namespace {

using api::Dialect;
using Tokens = std::vector<TokenId>;

#ifdef FATHOM_SANITIZED
constexpr int64_t kShort = 7;
#else
constexpr int64_t kShort = 14;
#endif

// One for each dialect and client, and short; or as many as are wanted, and as long as they get.
std::vector<Plan> MakePlans() {
  const char* wanted = std::getenv("FATHOM_CONVERSATIONS");
  const int64_t count = wanted == nullptr ? 12 : std::atoll(wanted);
  std::vector<Plan> plans;
  for (int64_t i = 0; i < count; ++i)
    plans.push_back(MakePlan(static_cast<uint64_t>(i), wanted == nullptr ? kShort : 40));
  return plans;
}

int64_t CommonTokens(const Tokens& a, const Tokens& b) {
  const auto end = a.begin() + std::min(std::ssize(a), std::ssize(b));
  return std::mismatch(a.begin(), end, b.begin()).first - a.begin();
}

struct Shares {
  int64_t requests = 0, prompt = 0, reusable = 0, cached = 0, cached_of_reusable = 0;
  void Add(int64_t prompt_tokens, int64_t reusable_tokens, int64_t cached_tokens) {
    requests += 1;
    prompt += prompt_tokens;
    reusable += reusable_tokens;
    cached += cached_tokens;
    cached_of_reusable += std::min(cached_tokens, reusable_tokens);
  }
  double OfReusable() const {
    return static_cast<double>(cached_of_reusable) / static_cast<double>(reusable);
  }
  double OfAll() const { return static_cast<double>(cached) / static_cast<double>(prompt); }
};

class ConversationsTest : public testing::Test {
 protected:
  ConversationsTest() : plans_(MakePlans()) {
    faults::ServerOptions options;
    options.setup.cache_bytes = int64_t{1} << 30;
    options.setup.service.executor_bytes_max = 1000;  // some prompts are below it, others above
    for (const Plan& plan : plans_)
      for (const Step& step : plan.steps)
        options.setup.script.emplace_back(step.marker, step.completion);
    server_ = std::make_unique<faults::HttpTestServer>(options);
    server::Service& service = server_->inner().service();
    auto text =
        server::LoadModelText(conformance::NanoDir(), service.engine().model(), std::nullopt);
    FATHOM_CHECK(text.ok(), text.error().message);
    text_.emplace(std::move(text).value());
    pipeline_ =
        std::make_unique<server::Pipeline>(*text_, server::PipelineOptions{service.facts()});
  }

  void Hold(const Plan& plan);
  api::Request RequestOf(const Plan& plan, const std::string& body) const;
  // The prompt's ids, and what is remembered of its answer.
  server::PreparedPrompt Prompt(const api::Request& request, const Plan& plan);
  void Remember(const api::Request& request, const Plan& plan, const server::PreparedPrompt& prompt,
                const Step& step, const std::vector<std::string>& call_ids);
  int64_t Reusable(const Tokens& prompt) const;
  void Check(const Plan& plan, const server::UsageRecord& record, const Tokens& prompt);

  const std::vector<Plan> plans_;
  std::unique_ptr<faults::HttpTestServer> server_;
  std::optional<server::ModelText> text_;
  std::unique_ptr<server::Pipeline> pipeline_;
  std::map<Client, Shares> shares_;
  Shares all_;
  std::map<std::string, int64_t> misses_;  // by their first word

  // Of the conversation that is held.
  std::vector<Tokens> earlier_;                // prompts with their answers
  std::map<std::string, chat::Message> said_;  // by the id of the turn's first call
};

api::Request ConversationsTest::RequestOf(const Plan& plan, const std::string& body) const {
  const api::Facts& facts = server_->inner().service().facts();
  auto parsed = plan.dialect == Dialect::kChat        ? api::ParseChat(body, facts, {})
                : plan.dialect == Dialect::kAnthropic ? api::ParseMessages(body, facts, {})
                                                      : api::ParseResponses(body, facts, {});
  FATHOM_CHECK(parsed.ok(), parsed.error().message);
  api::Request request = std::move(parsed).value();
  // Exact replay, as it is promised: a turn with calls is what the model wrote.
  for (chat::Message& message : request.conversation.messages) {
    if (message.tool_calls.empty()) continue;
    const auto said = said_.find(message.tool_calls[0].id);
    if (said == said_.end()) continue;
    message.tool_calls = said->second.tool_calls;
    message.reasoning_content = said->second.reasoning_content;
  }
  return request;
}

server::PreparedPrompt ConversationsTest::Prompt(const api::Request& request, const Plan& plan) {
  auto prompt = pipeline_->EncodePrompt(request, plan.system);
  FATHOM_CHECK(prompt.ok(), prompt.error().message);
  return std::move(prompt).value();
}

void ConversationsTest::Remember(const api::Request& request, const Plan& plan,
                                 const server::PreparedPrompt& prompt, const Step& step,
                                 const std::vector<std::string>& call_ids) {
  chat::ParserOptions options;
  options.starts_in_reasoning = prompt.prompt.starts_in_reasoning;
  std::vector<Json> functions;
  for (const api::Tool& tool : request.tools) functions.push_back(tool.function);
  options.tools = chat::ReadToolSchemas(functions);
  const chat::ParsedMessage message =
      chat::ParseCompletion(step.completion, options, chat::StopReason::kStop);
  ASSERT_EQ(message.tool_calls.size(), call_ids.size());
  Tokens answer = text_->tokenizer.Encode(step.completion);
  Tokens& whole = earlier_.emplace_back(prompt.tokens);
  whole.insert(whole.end(), answer.begin(), answer.end());
  answer.push_back(*text_->tokenizer.FindToken(chat::kEos));
  pipeline_->Remember(request, plan.system, prompt.prompt, prompt.tokens, prompt.known, message,
                      answer);
  if (call_ids.empty()) return;
  chat::Message& said = said_[call_ids[0]];
  said.reasoning_content = message.reasoning_content;
  for (size_t i = 0; i < call_ids.size(); ++i)
    said.tool_calls.push_back(
        {call_ids[i], message.tool_calls[i].name, message.tool_calls[i].arguments, true});
}

// Whole pages that a prompt has in common with an earlier one and what was answered to it, one
// token being left to read. The stop token of an answer never went through the model.
int64_t ConversationsTest::Reusable(const Tokens& prompt) const {
  int64_t common = 0;
  for (const Tokens& whole : earlier_) common = std::max(common, CommonTokens(prompt, whole));
  return std::min(common, std::ssize(prompt) - 1) / 128 * 128;
}

void ConversationsTest::Check(const Plan& plan, const server::UsageRecord& record,
                              const Tokens& prompt) {
  const int64_t reusable = Reusable(prompt);
  const int64_t cached = record.usage.cached_tokens;
  EXPECT_EQ(record.usage.prompt_tokens, std::ssize(prompt));
  shares_[plan.client].Add(std::ssize(prompt), reusable, cached);
  all_.Add(std::ssize(prompt), reusable, cached);
  misses_[record.miss.substr(0, record.miss.find(' '))] += 1;
  if (plan.client == Client::kFaithful || plan.client == Client::kRespells) {
    EXPECT_GE(cached, reusable) << record.miss;
    // Where the format keeps reasoning, a prompt begins with all that was said before.
    if (!earlier_.empty() && (plan.has_tools || !plan.thinks)) {
      EXPECT_EQ(CommonTokens(prompt, earlier_.back()), std::ssize(earlier_.back()));
    }
  }
  const bool is_new = earlier_.empty() && cached + 128 < std::ssize(prompt);
  if (cached < reusable || is_new) {
    EXPECT_NE(record.miss, "") << cached << " cached";
  }
}

void ConversationsTest::Hold(const Plan& plan) {
  earlier_.clear();
  said_.clear();
  Conversation conversation(plan);
  for (const Step& step : plan.steps) {
    SCOPED_TRACE(step.marker);
    const std::string body = conversation.Next(step);
    const api::Request request = RequestOf(plan, body);
    const server::PreparedPrompt prompt = Prompt(request, plan);
    // As much as the model's context holds.
    if (std::ssize(prompt.tokens) + 700 > server_->inner().service().engine().capacity()) return;
    const conformance::Reply reply =
        server_->Ask(faults::PostText(conformance::Target(plan.dialect), body));
    ASSERT_EQ(reply.status, 200) << reply.body;
    const auto records = server_->inner().usage().Take();
    ASSERT_EQ(records.size(), 1u);
    Check(plan, records[0], prompt.tokens);
    conversation.Take(reply);
    Remember(request, plan, prompt, step, conversation.call_ids());
    if (HasFailure()) return;
  }
}

TEST_F(ConversationsTest, ReadNothingTwice) {
  for (const Plan& plan : plans_) {
    Hold(plan);
    ASSERT_FALSE(HasFailure()) << Name(plan.client);
  }
  std::string report;
  const auto add = [&](const char* name, const Shares& shares) {
    report += fmt::format(
        "{}: {} requests, {} prompt tokens, {} reusable, cached {:.2f} % of them"
        " and {:.2f} % of all\n",
        name, shares.requests, shares.prompt, shares.reusable, 100 * shares.OfReusable(),
        100 * shares.OfAll());
  };
  for (const auto& [client, shares] : shares_) add(Name(client), shares);
  add("all", all_);
  for (const auto& [miss, count] : misses_)
    report += fmt::format("{}: {}\n", miss.empty() ? "no miss" : miss, count);
  fmt::print("{}", report);
  EXPECT_GE(all_.OfReusable(), 0.98);
  // The plans do what they are for.
  EXPECT_EQ(shares_.size(), std::size(kClients));
  EXPECT_GT(misses_["diverged"], 0);
  EXPECT_GT(misses_["cold"], 0);
}

}  // namespace
}  // namespace fathom::conversations
