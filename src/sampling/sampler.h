// From a row of logits to a token. The settings apply in this order:
//
//   1. repetition penalty, over the tokens of prompt and completion: logit / r if positive, * r
//   2. presence and frequency penalty, over the completion: - presence - count * frequency
//   3. logit bias
//   4. the mask: what it does not allow is out
//   5. temperature; 0 takes the largest logit, the lower id on a tie, and ends here
//   6. top-k: the k largest; equal logits by id
//   7. top-p: of what is left, the smallest set of largest ones that holds p of its probability
//   8. min-p: of what is left, those with at least min_p times the largest probability
//   9. the draw
//
// The draw is a function of seed, stream and the token's position in its sequence (Philox), so a
// text does not depend on what else runs in the batch. Exponentials are numerics::Exp, sums run in
// double in a fixed order: the same logits give the same token on every machine.
//
// Unusable logits: NaN and -inf are never chosen while another is left; of several +inf each is as
// likely; when nothing is left, the lowest allowed id is chosen.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sampling/params.h"

namespace fathom::sampling {

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

struct Sampled {
  TokenId token = 0;
  // Natural logarithms of the model's own probabilities, from the logits as they came in: before
  // penalties, bias, mask and (unless Params says otherwise) temperature, as OpenAI's API reports
  // them. -inf for a NaN logit.
  // Only when Params::logprobs asks for them.
  float logprob = 0;
  std::span<const TokenLogprob> top;  // best first; valid until the next Sample
};

// The state of one generation. Everything is allocated when it begins; a token allocates nothing.
class Sampler {
 public:
  // `params` must pass CheckParams.
  Sampler(const Params& params, int64_t vocab_size);

  // A new sequence: what counts as prompt for the penalties. Forgets the completion.
  void Begin(std::span<const TokenId> prompt);

  // The token for `position` of the sequence. `allowed`: bit (id mod 64) of word (id / 64) says
  // whether a token may be chosen; empty allows all; at least one bit must be set. Counts nothing:
  // tell Accept which token the sequence went on with.
  Sampled Sample(std::span<const float> logits, int64_t position,
                 std::span<const uint64_t> allowed = {});
  void Accept(TokenId token);
  // A token that was not sampled, with the log-probabilities that Sample would have reported.
  Sampled Given(std::span<const float> logits, TokenId token);

 private:
  struct Candidate {
    float score;
    float weight;
    TokenId token;
  };

  void Adjust(std::span<const float> logits, std::span<const uint64_t> allowed);
  void Touch(TokenId token);
  TokenId Draw(float largest, int64_t position);
  void Collect(float largest);
  void KeepTopK();
  void KeepTopP();
  void ReportLogprobs(std::span<const float> logits, Sampled& sampled);

  Params params_;
  std::vector<float> scores_;          // adjusted logits, one per token of the vocabulary
  std::vector<Candidate> candidates_;  // in the order of the draw
  std::vector<TokenLogprob> top_;
  bool has_penalties_;
  // Occurrences, for the penalties; `touched_` lists the tokens that have any.
  std::vector<int32_t> generated_count_;
  std::vector<bool> is_touched_;
  std::vector<TokenId> touched_;
};

}  // namespace fathom::sampling
