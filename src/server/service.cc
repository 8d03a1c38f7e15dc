#include "server/service.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/file.h"
#include "base/random.h"
#include "model/config.h"

namespace fathom::server {
namespace {

using api::Dialect;

constexpr int kWorkers = 2;
constexpr int kEndWorkers = 1;

std::string NewId() {
  return fmt::format("{:016x}{:016x}", RandomFromSystem(), RandomFromSystem());
}

int64_t UnixTime() {
  using std::chrono::duration_cast, std::chrono::seconds, std::chrono::system_clock;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

std::string ModelName(const std::string& dir, const model::Config& config) {
  const auto is_like = [&](const model::Config& preset) {
    return config.hidden_size == preset.hidden_size &&
           config.num_hidden_layers == preset.num_hidden_layers &&
           config.n_routed_experts == preset.n_routed_experts;
  };
  if (is_like(model::FlashPreset())) return "deepseek-v4-flash";
  if (is_like(model::ProPreset())) return "deepseek-v4-pro";
  std::string_view name = dir;
  while (name.ends_with('/')) name.remove_suffix(1);
  return std::string(name.substr(name.rfind('/') + 1));
}

// Changes when the same request could be answered differently: with the weights, their numerics and
// the prompt format.
std::string Fingerprint(const engine::EngineOptions& options, chat::Revision revision) {
  const uint64_t how =
      (static_cast<uint64_t>(options.session.mode) << 8) + static_cast<uint64_t>(revision);
  return fmt::format("fp_{:012x}", SplitMix64(options.disk.fingerprint ^ how).Bits() >> 16);
}

Result<std::unique_ptr<Script>> LoadScript(const std::string& file) {
  if (file.empty()) return std::unique_ptr<Script>();
  FATHOM_TRY(const std::string text, ReadFile(file));
  FATHOM_TRY(auto lines, Script::Parse(text, file));
  return std::make_unique<Script>(std::move(lines));
}

bool Mentions(std::string_view header, std::string_view word) {
  return header.find(word) != header.npos;
}

}  // namespace

// A request on its way to an answer.
struct Service::Incoming {
  HttpRequest request;
  std::shared_ptr<Exchange> exchange;
  Route route;
  std::string id;
  std::string key;  // as sent

  Headers BasicHeaders() const {
    return {{"access-control-allow-origin", "*"}, {"x-request-id", id}, {"request-id", id}};
  }
  void Send(int status, std::string body, Headers more = {}) const {
    Headers headers = BasicHeaders();
    headers.emplace_back("content-type", "application/json");
    for (auto& header : more) headers.push_back(std::move(header));
    exchange->Send(status, std::move(headers), std::move(body));
  }
  void SendError(const api::ApiError& error) const {
    Headers more;
    if (error.retry_after_s) more.emplace_back("retry-after", std::to_string(*error.retry_after_s));
    if (route.kind == RouteKind::kWrongMethod) more.emplace_back("allow", route.allow);
    Send(error.status, api::WriteError(error, route.dialect, id), std::move(more));
  }
};

// Whose queue, cache and earlier answers a request may use: another key's never.
std::string Service::OwnerOf(const Incoming& incoming, const std::string& isolation_key) {
  return incoming.key + '\n' + isolation_key;
}

Result<std::unique_ptr<Service>> Service::Open(const std::string& dir,
                                               const engine::EngineOptions& engine_options,
                                               const ServiceOptions& options) {
  FATHOM_TRY(std::unique_ptr<Script> script, LoadScript(options.script_file));
  FATHOM_TRY(auto engine, engine::Engine::Open(dir, engine_options));
  FATHOM_TRY(ModelText text, LoadModelText(dir, engine->model(), options.chat_revision));
  const model::Config& config = engine->config();
  PipelineOptions pipeline;
  pipeline.special_in_user_text = options.special_in_user_text;
  pipeline.script = script.get();
  api::Facts& facts = pipeline.facts;
  facts.profile = options.profile;
  facts.model = options.model_name.empty() ? ModelName(dir, config) : options.model_name;
  facts.revision = text.revision.revision;
  facts.context_tokens = engine->capacity();
  facts.output_tokens_max = options.output_tokens_max;
  facts.vocab_size = config.vocab_size;
  std::string fingerprint = Fingerprint(engine->options(), text.revision.revision);
  std::string description = DescribeModel(dir, config, engine->options().session, text.revision);
  return std::unique_ptr<Service>(new Service(std::move(engine), std::move(text), options, pipeline,
                                              std::move(script), std::move(description),
                                              std::move(fingerprint)));
}

Service::Service(std::unique_ptr<engine::Engine> engine, ModelText text,
                 const ServiceOptions& options, const PipelineOptions& pipeline_options,
                 std::unique_ptr<Script> script, std::string description, std::string fingerprint)
    : options_(options),
      text_(std::move(text)),
      script_(std::move(script)),
      pipeline_options_(pipeline_options),
      description_(std::move(description)),
      fingerprint_(std::move(fingerprint)),
      replay_(options.replay_bytes_max),
      pipeline_(text_, pipeline_options_),
      engine_(std::move(engine)),
      workers_(kWorkers),
      end_workers_(kEndWorkers) {}

Service::~Service() = default;

void Service::Drain(double grace_s) { engine_->Drain(grace_s); }

std::string Service::TransportError(int status, const std::string& message) const {
  api::ApiError error = status == 413   ? api::BodyTooLarge(options_.body_bytes_max)
                        : status == 503 ? api::NotReady(message)
                                        : api::BadRequest(message);
  error.status = status;
  return api::WriteError(error, Dialect::kChat, NewId());
}

api::Parsed<void> Service::CheckKey(const HttpRequest& request, std::string& key) const {
  constexpr std::string_view kBearer = "Bearer ";
  std::string_view sent = request.Header("authorization");
  if (sent.starts_with(kBearer)) {
    sent.remove_prefix(kBearer.size());
  } else if (sent.empty()) {
    sent = request.Header("x-api-key");
  }
  key = sent;
  if (options_.api_keys.empty()) return {};
  if (key.empty()) return api::MissingKey();
  // Every key is compared to the end, so that the time tells nothing about how much of one fits.
  bool is_known = false;
  for (const std::string& known : options_.api_keys) {
    unsigned different = known.size() != key.size();
    for (size_t i = 0; i < known.size(); ++i)
      different |= static_cast<unsigned char>(known[i]) ^
                   static_cast<unsigned char>(key[i < key.size() ? i : 0]);
    is_known |= different == 0;
  }
  if (!is_known) return api::WrongKey(key);
  return {};
}

void Service::Handle(HttpRequest request, std::shared_ptr<Exchange> exchange) {
  auto incoming = std::make_shared<Incoming>();
  incoming->route = FindRoute(request.method, request.path);
  incoming->id = NewId();
  incoming->request = std::move(request);
  incoming->exchange = std::move(exchange);
  Answer(incoming);
}

void Service::Answer(const std::shared_ptr<Incoming>& incoming) {
  switch (incoming->route.kind) {
    case RouteKind::kPreflight: {
      Headers headers = incoming->BasicHeaders();
      const std::string_view wanted = incoming->request.Header("access-control-request-headers");
      headers.emplace_back("access-control-allow-methods", "GET, HEAD, POST, DELETE, OPTIONS");
      headers.emplace_back("access-control-allow-headers",
                           wanted.empty() ? "*" : std::string(wanted));
      headers.emplace_back("access-control-max-age", "86400");
      incoming->exchange->Send(204, std::move(headers), "");
      return;
    }
    case RouteKind::kAlive:
      incoming->Send(200, "{\"object\":\"fathom\"}");
      return;
    case RouteKind::kHealth:
      AnswerHealth(incoming);
      return;
    default:
      break;
  }
  if (auto allowed = CheckKey(incoming->request, incoming->key); !allowed.ok()) {
    incoming->SendError(allowed.error());
    return;
  }
  if (incoming->route.kind != RouteKind::kGenerate &&
      incoming->route.kind != RouteKind::kCountTokens) {
    AnswerFixed(incoming);
  } else if (std::ssize(incoming->request.body) <= options_.executor_bytes_max) {
    AnswerBody(incoming);
  } else {
    workers_.Run([this, incoming] { AnswerBody(incoming); });
  }
}

void Service::AnswerFixed(const std::shared_ptr<Incoming>& incoming) {
  const HttpRequest& request = incoming->request;
  const Route& route = incoming->route;
  const bool anthropic = route.wants_anthropic || !request.Header("anthropic-version").empty();
  switch (route.kind) {
    case RouteKind::kModels:
      incoming->Send(200, api::WriteModels(facts(), anthropic));
      return;
    case RouteKind::kModel:
      if (auto model = api::WriteModel(facts(), route.id, anthropic)) {
        incoming->Send(200, *std::move(model));
        return;
      }
      break;
    case RouteKind::kBalance:
      incoming->Send(200, api::WriteBalance());
      return;
    case RouteKind::kWrongMethod:
      incoming->SendError(api::MethodNotAllowed(request.method, request.path));
      return;
    default:
      break;
  }
  incoming->SendError(api::NotFound(request.method, request.path));
}

void Service::AnswerHealth(const std::shared_ptr<Incoming>& incoming) {
  const auto answer = [incoming](bool is_alive) {
    if (is_alive) {
      incoming->Send(200, "{\"status\":\"ok\"}");
    } else {
      incoming->SendError(api::NotReady("No forward pass has ended lately."));
    }
  };
  const engine::EngineStats stats = engine_->stats();
  if (stats.steps > 0 && stats.seconds_since_forward < options_.health_fresh_s) {
    answer(true);
    return;
  }
  workers_.Run([this, answer] {
    answer(engine_->IsAlive(options_.health_fresh_s, options_.health_timeout_s));
  });
}

api::Parsed<api::Request> Service::Parse(const Incoming& incoming) {
  api::Origin origin;
  origin.is_beta = incoming.route.is_beta;
  origin.wants_context_exceeded =
      Mentions(incoming.request.Header("anthropic-beta"), "model-context-window-exceeded");
  const std::string& body = incoming.request.body;
  const bool counts_only = incoming.route.kind == RouteKind::kCountTokens;
  const auto parse = [&]() -> api::Parsed<api::Request> {
    switch (incoming.route.dialect) {
      case Dialect::kChat:
        return api::ParseChat(body, facts(), origin);
      case Dialect::kCompletions:
        return api::ParseCompletions(body, facts(), origin);
      case Dialect::kAnthropic:
        return api::ParseMessages(body, facts(), origin, counts_only);
      case Dialect::kResponses:
        return api::ParseResponses(body, facts(), origin, counts_only);
    }
    return api::ServerFailed("unknown dialect");
  };
  FATHOM_TRY(api::Request request, parse());
  replay_.Restore(OwnerOf(incoming, request.isolation_key), request.conversation);
  return request;
}

void Service::AnswerBody(const std::shared_ptr<Incoming>& incoming) {
  auto parsed = Parse(*incoming);
  incoming->request.body = {};
  incoming->request.body_share = nullptr;
  if (!parsed.ok()) {
    incoming->SendError(parsed.error());
    return;
  }
  if (incoming->route.kind == RouteKind::kCountTokens) {
    auto prompt =
        pipeline_.EncodePrompt(parsed.value(), OwnerOf(*incoming, parsed.value().isolation_key));
    if (prompt.ok()) {
      incoming->Send(
          200, api::WriteTokenCount(incoming->route.dialect, std::ssize(prompt.value().tokens)));
    } else {
      incoming->SendError(prompt.error());
    }
    return;
  }
  if (auto started = Generate(*incoming, std::move(parsed).value()); !started.ok())
    incoming->SendError(started.error());
}

api::Parsed<void> Service::Generate(Incoming& incoming, api::Request request) {
  const std::string owner = OwnerOf(incoming, request.isolation_key);
  FATHOM_TRY(Prepared prepared, pipeline_.Prepare(request, owner));
  const api::Identity identity = {.id = incoming.id,
                                  .created_s = UnixTime(),
                                  .salt = RandomFromSystem(),
                                  .fingerprint = fingerprint_,
                                  .now_s = UnixTime};
  UsageRecord record;
  record.request_id = incoming.id;
  record.api_key = incoming.key;
  record.isolation_key = request.isolation_key;
  record.model = request.model;
  record.dialect = request.dialect;
  const AnswerSurroundings around = {.engine = *engine_,
                                     .tokenizer = text_.tokenizer,
                                     .replay = replay_,
                                     .pipeline = pipeline_,
                                     .workers = end_workers_,
                                     .executor_bytes_max = options_.executor_bytes_max,
                                     .usage = options_.usage,
                                     .keep_alive_s = options_.keep_alive_s,
                                     .first_keep_alive_s = options_.first_keep_alive_s,
                                     .queue_timeout_s = options_.queue_timeout_s};
  const auto answering =
      std::make_shared<Answering>(around, std::move(request), std::move(prepared), identity,
                                  std::move(record), incoming.exchange, incoming.BasicHeaders());
  return answering->Start();
}

}  // namespace fathom::server
