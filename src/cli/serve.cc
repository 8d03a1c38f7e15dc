// `fathom serve`: the model behind HTTP until a signal ends it. What a request means is the server
// room's; here are the flags, the lines for the operator, and the way down.
#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/model_options.h"
#include "server/http.h"
#include "server/service.h"

namespace fathom::cli {
namespace {

struct ServeOptions {
  ModelOptions model;
  server::HttpOptions http;
  server::ServiceOptions service;
  int64_t sequences_max = 64;
  int64_t queue_max = 256;
  double state_gb = 0;
  std::optional<int64_t> cache_memory_bytes;
  int64_t cache_every = 4096;
  cache::DiskOptions disk;
  double grace_s = 30;
  std::string profile = "default";
  std::string keys_file;
  std::string chat_revision;
  bool allow_scripted = false;
  bool no_special_in_user_text = false;
  std::string log_level = "info";
};

// One line for each request, when it is over.
class RequestLog : public server::UsageSink {
 public:
  void OnUsage(const server::UsageRecord& r) override {
    const double tokens_s =
        r.total_s > r.prompt_s
            ? static_cast<double>(r.usage.completion_tokens) / (r.total_s - r.prompt_s)
            : 0;
    Log(r.status >= 500 ? LogLevel::kWarning : LogLevel::kInfo,
        fmt::format(
            "{} {} {}: prompt {} ({} cached{}{}), output {} ({} reasoning), first token {:.2f} "
            "s, {:.1f} tokens/s",
            r.request_id.substr(0, 8), r.status, r.outcome, r.usage.prompt_tokens,
            r.usage.cached_tokens, r.miss.empty() ? "" : ": ", r.miss, r.usage.completion_tokens,
            r.usage.reasoning_tokens, r.prompt_s, tokens_s));
  }
};

// Waits for SIGINT or SIGTERM, which must be blocked in all threads.
void WaitForSignal(const sigset_t& signals) {
  int signal = 0;
  sigwait(&signals, &signal);
}

Result<void> ReadKeys(ServeOptions& options) {
  if (const char* key = std::getenv("FATHOM_API_KEY"); key != nullptr && *key != '\0')
    options.service.api_keys.push_back(key);
  if (options.keys_file.empty()) return {};
  FATHOM_TRY(const std::string text, ReadFile(options.keys_file));
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (!line.empty() && line[0] != '#') options.service.api_keys.emplace_back(line);
  }
  if (options.service.api_keys.empty())
    return Error{options.keys_file + ": expected one key on each line, found none"};
  return {};
}

LogLevel LevelOf(const std::string& name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warning") return LogLevel::kWarning;
  return LogLevel::kError;
}

std::string Address(const ServeOptions& options, int port) {
  if (!options.http.unix_socket.empty()) return "unix:" + options.http.unix_socket;
  const bool is_v6 = options.http.host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", options.http.tls_cert.empty() ? "http" : "https",
                     is_v6 ? "[" + options.http.host + "]" : options.http.host, port);
}

Result<int> Serve(ServeOptions& options) {
  if (options.service.script_file.empty() == options.allow_scripted)
    return Error{options.allow_scripted
                     ? "--allow-scripted: expected --scripted FILE beside it, found none"
                     : "--scripted replaces the model's answers by a file's, for tests: expected "
                       "--allow-scripted beside it, found none"};
  if (options.http.all_bodies_bytes_max < options.http.body_bytes_max)
    return Error{fmt::format("--all-bodies-limit: expected at least --body-limit, {}, found {}",
                             options.http.body_bytes_max, options.http.all_bodies_bytes_max)};
  FATHOM_TRY_VOID(ReadKeys(options));
  SetLogLevel(LevelOf(options.log_level));
  FATHOM_TRY(const std::string dir, options.model.Directory());
  engine::EngineOptions engine;
  FATHOM_TRY(engine.session, options.model.Session());
  engine.sequences_max = options.sequences_max;
  engine.queue_max = options.queue_max;
  engine.state_bytes_max = static_cast<int64_t>(options.state_gb * 1e9);
  // Unless told otherwise the engine takes a part of the memory for states.
  engine.cache_bytes = options.cache_memory_bytes.value_or(-1);
  engine.cache_every = options.cache_every;
  engine.disk = options.disk;
  RequestLog log;
  options.service.profile =
      options.profile == "strict" ? api::Profile::kStrict : api::Profile::kDefault;
  if (!options.chat_revision.empty()) options.service.chat_revision = options.chat_revision;
  options.service.special_in_user_text = !options.no_special_in_user_text;
  options.service.body_bytes_max = options.http.body_bytes_max;
  options.service.usage = &log;

  // Blocked before any thread starts, so that none takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  FATHOM_TRY(const auto service, server::Service::Open(dir, engine, options.service));
  options.http.error_body = [&](int status, const std::string& message) {
    return service->TransportError(status, message);
  };
  FATHOM_TRY(const auto http, server::HttpServer::Listen(
                                  options.http, [&](server::HttpRequest request,
                                                    std::shared_ptr<server::Exchange> exchange) {
                                    service->Handle(std::move(request), std::move(exchange));
                                  }));
  std::cerr << service->description() << '\n'
            << "model " << service->facts().model << ", context " << service->facts().context_tokens
            << " tokens\n"
            << "listening on " << Address(options, http->port()) << std::endl;
  WaitForSignal(signals);
  std::cerr << "shutting down: running answers have " << options.grace_s << " s" << std::endl;
  // A second signal ends the program at once.
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  service->Drain(options.grace_s);
  http->Shutdown(options.grace_s);
  return 0;
}

void AddNetwork(CLI::App& command, ServeOptions& options) {
  server::HttpOptions& http = options.http;
  command.add_option("--host", http.host, "Address to listen on")->capture_default_str();
  command.add_option("--port", http.port, "Port to listen on (0: any free one, which is printed)")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command.add_option("--unix", http.unix_socket, "Listen on this Unix socket instead");
  CLI::Option* cert =
      command.add_option("--tls-cert", http.tls_cert, "PEM file: the certificate chain, for HTTPS");
  CLI::Option* key = command.add_option("--tls-key", http.tls_key, "PEM file: its private key");
  cert->needs(key);
  key->needs(cert);
  command.add_option("--io-threads", http.threads, "Threads that read and write connections")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command.add_option("--connections", http.connections_max, "Connections at once, at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--body-limit", http.body_bytes_max, "Bytes of a request's body, at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--all-bodies-limit", http.all_bodies_bytes_max,
                  "Bytes of the bodies that are being read, all together, at most; who comes then "
                  "gets status 503")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--api-keys", options.keys_file,
                     "File with one accepted key on each line; $FATHOM_API_KEY is accepted as well "
                     "(default: every key, or none)");
}

void AddCache(CLI::App& command, ServeOptions& options) {
  command
      .add_option("--cache-memory", options.cache_memory_bytes,
                  "Bytes of memory for the states of earlier prompts, whose beginnings then need "
                  "not be read again (0: none; default: a quarter of the memory for states)")
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--cache-every", options.cache_every,
                  "Tokens between the states that are kept of a long prompt, beside those at the "
                  "ends of messages (0: none)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  CLI::Option* cache_dir = command.add_option(
      "--cache-dir", options.disk.dir,
      "Folder that keeps them over a restart as well; one server at a time writes it");
  command.add_option("--cache-bytes", options.disk.bytes_max, "Bytes that the folder may take")
      ->check(CLI::PositiveNumber)
      ->needs(cache_dir)
      ->capture_default_str();
}

void AddServing(CLI::App& command, ServeOptions& options) {
  command
      .add_option("--profile", options.profile,
                  "default: clients just work. strict: answers as DeepSeek's platform does, its "
                  "refusals included")
      ->check(CLI::IsMember({"default", "strict"}))
      ->capture_default_str();
  command.add_option(
      "--model-name", options.service.model_name,
      "Name of the model in answers (default: by its sizes, else its folder's name)");
  command.add_option("--sequences", options.sequences_max, "Answers generated at once, at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--queue", options.queue_max,
                  "Requests that may wait; more get status 429 and a time to come back")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--state-gb", options.state_gb,
                  "Memory for the state of running answers, in 10^9 bytes (default: 80 % of what "
                  "is free at start)")
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--max-output", options.service.output_tokens_max,
                  "Tokens of one answer, at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--grace", options.grace_s,
                  "Seconds that running answers get when the server is told to end")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option(
      "--chat-revision", options.chat_revision,
      "preview, 0731 or vision: the prompt format, if the checkpoint's own choice is "
      "wrong");
  command.add_flag("--no-special-in-user-text", options.no_special_in_user_text,
                   "Control tokens spelled in messages stay text");
  command.add_option("--log", options.log_level, "What is said on standard error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  command.add_option("--scripted", options.service.script_file,
                     "Testing aid: answers come from this file instead of the model (docs/api.md)");
  command.add_flag("--allow-scripted", options.allow_scripted,
                   "Must stand beside --scripted, so that nobody serves a script by mistake");
}

}  // namespace

void RegisterServe(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ServeOptions>();  // shared with the callback below
  CLI::App* command = app.add_subcommand(
      "serve",
      "Answer the APIs of OpenAI (Chat Completions, Completions, Responses) and Anthropic "
      "(Messages) over HTTP, as DeepSeek's platform did, until Ctrl-C or SIGTERM.");
  options->model.AddTo(*command);
  AddNetwork(*command, *options);
  AddServing(*command, *options);
  AddCache(*command, *options);
  command->footer(
      "Examples:\n"
      "  fathom serve -m ~/DeepSeek-V4-Flash --port 8000\n"
      "  curl http://127.0.0.1:8000/v1/chat/completions -d '{\"model\": \"deepseek-v4-flash\", "
      "\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n"
      "  ANTHROPIC_BASE_URL=http://127.0.0.1:8000/anthropic ANTHROPIC_AUTH_TOKEN=any claude");
  command->callback([options, &exit_code] { exit_code = ExitStatus("serve", Serve(*options)); });
}

}  // namespace fathom::cli
