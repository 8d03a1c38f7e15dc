// The server without its sockets: what answers a request, whatever brought it. Owns the model, the
// engine, and what all requests share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/request.h"
#include "base/result.h"
#include "engine/engine.h"
#include "server/answering.h"
#include "server/http.h"
#include "server/pipeline.h"
#include "server/routes.h"
#include "server/usage.h"
#include "server/workers.h"

namespace fathom::server {

struct ServiceOptions {
  api::Profile profile = api::Profile::kDefault;
  std::string model_name;  // empty: by the checkpoint's sizes, else its folder's name
  std::optional<std::string> chat_revision;
  std::vector<std::string> api_keys;  // empty: every key, or none, is accepted
  std::string script_file;            // --scripted; empty: tokens are sampled
  bool special_in_user_text = true;
  int64_t output_tokens_max = 393216;
  int64_t replay_bytes_max = int64_t{256} << 20;
  int64_t body_bytes_max = int64_t{64} << 20;  // only for the message of a 413
  // Larger bodies and prompts are read and encoded by workers, not on the connection's executor.
  int64_t executor_bytes_max = int64_t{64} << 10;
  UsageSink* usage = nullptr;  // outlives the service
  double keep_alive_s = 10;
  double first_keep_alive_s = 15;
  double queue_timeout_s = 600;
  double health_fresh_s = 60;  // a forward pass within that time counts as health
  double health_timeout_s = 30;
};

class Service {
 public:
  // Loads the model. Errors: those of Engine::Open, of the text files beside the weights, and of
  // the script.
  static Result<std::unique_ptr<Service>> Open(const std::string& dir,
                                               const engine::EngineOptions& engine_options,
                                               const ServiceOptions& options);
  ~Service();

  // From any thread; answers through the exchange, now or later.
  void Handle(HttpRequest request, std::shared_ptr<Exchange> exchange);
  // The body of an error that the transport itself answers.
  std::string TransportError(int status, const std::string& message) const;

  // New requests are refused with 503; running ones may end within `grace_s`.
  void Drain(double grace_s);

  const engine::Engine& engine() const { return *engine_; }
  const api::Facts& facts() const { return pipeline_options_.facts; }
  // One line: the model, how it is computed, the chat revision and why.
  const std::string& description() const { return description_; }

 private:
  struct Incoming;
  Service(std::unique_ptr<engine::Engine> engine, ModelText text, const ServiceOptions& options,
          const PipelineOptions& pipeline_options, std::unique_ptr<Script> script,
          std::string description, std::string fingerprint);

  static std::string OwnerOf(const Incoming& incoming, const std::string& isolation_key);
  api::Parsed<void> CheckKey(const HttpRequest& request, std::string& key) const;
  void Answer(const std::shared_ptr<Incoming>& incoming);
  void AnswerFixed(const std::shared_ptr<Incoming>& incoming);
  void AnswerHealth(const std::shared_ptr<Incoming>& incoming);
  void AnswerBody(const std::shared_ptr<Incoming>& incoming);
  api::Parsed<api::Request> Parse(const Incoming& incoming);
  api::Parsed<void> Generate(Incoming& incoming, api::Request request);

  const ServiceOptions options_;
  const ModelText text_;
  const std::unique_ptr<Script> script_;
  const PipelineOptions pipeline_options_;
  const std::string description_;
  const std::string fingerprint_;
  api::ReplayMemory replay_;
  Pipeline pipeline_;
  std::unique_ptr<engine::Engine> engine_;
  // Last: their tasks use the rest.
  Workers workers_;
  Workers end_workers_;  // for ends of answers, which must not wait behind new requests
};

}  // namespace fathom::server
