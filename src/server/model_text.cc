#include "server/model_text.h"

#include <fmt/format.h>

#include <utility>

#include "chat/token_reader.h"
#include "sampling/generation_config.h"

namespace fathom::server {
namespace {

chat::RevisionFacts FactsOf(const model::LoadedModel& model,
                            const std::optional<std::string>& option) {
  chat::RevisionFacts facts;
  facts.option = option;
  if (!model.config().chat_revision.empty()) facts.config_revision = model.config().chat_revision;
  facts.has_vision_tower = model.config().has_vision;
  facts.has_dspark = model.weights().dspark.has_value();
  if (const auto& mtp = model.weights().mtp) {
    for (const model::Config& preset : {model::FlashPreset(), model::ProPreset()})
      facts.has_published_mtp |= mtp->e_proj.rows == preset.hidden_size;
  }
  return facts;
}

}  // namespace

Result<ModelText> LoadModelText(const std::string& dir, const model::LoadedModel& model,
                                const std::optional<std::string>& chat_revision) {
  FATHOM_TRY(tokenizer::Tokenizer tokenizer, tokenizer::Tokenizer::Load(dir + "/tokenizer.json"));
  FATHOM_TRY(sampling::GenerationConfig generation, sampling::LoadGenerationConfig(dir));
  FATHOM_TRY(chat::RevisionChoice revision, chat::ChooseRevision(FactsOf(model, chat_revision)));
  std::vector<TokenId> stops = std::move(generation.eos_token_ids);
  stops.push_back(static_cast<TokenId>(model.config().eos_token_id));
  stops = chat::StopTokens(tokenizer, std::move(stops));
  return ModelText{std::move(tokenizer), std::move(revision), std::move(generation.params),
                   std::move(stops)};
}

std::string DescribeModel(const std::string& dir, const model::Config& config,
                          const engine::SessionOptions& options,
                          const chat::RevisionChoice& revision) {
  return fmt::format("{}: {} layers, {} numerics, path {}, threads {}. {}", dir,
                     config.num_hidden_layers,
                     numerics::Name(options.mode),
                     std::string(kernels::Name(*options.path)), options.threads, revision.reason);
}

}  // namespace fathom::server
