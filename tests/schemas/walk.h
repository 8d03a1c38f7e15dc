// Random answers under a constraint: what a model without any knowledge would write.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "grammar/constraint.h"
#include "tokenizer/tokenizer.h"

namespace fathom {

// Writes one answer by choosing among the allowed tokens, soon only among those that lead to an
// end: stop tokens and signs that close. Nothing when it is not finished within `tokens_max`.
std::optional<std::string> RandomAnswer(const tokenizer::Tokenizer& tokenizer,
                                        std::shared_ptr<const grammar::Vocabulary> vocabulary,
                                        std::shared_ptr<const grammar::Grammar> grammar,
                                        std::mt19937_64& random, int64_t tokens_max);

}  // namespace fathom
