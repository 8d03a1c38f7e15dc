// What a completion may say: a pushdown automaton over the bytes of the answer, and from its state
// the set of tokens that may come next. Reasoning is free, but that no block of calls may open in
// it where the answer is bound; what comes after </think> obeys. Immutable parts are shared, states
// are cheap; a state belongs to one thread.
//
// Every document produced is valid by its schema; not every valid document can be produced:
// - properties come in schema order, optional ones may be left out; others only where the schema
//   speaks about them (additionalProperties, patternProperties) or declares none;
// - white space is what people write: none, one space, or a line break with an indentation;
// - numbers have up to 18 digits before the point and 15 after it (more where a bound has more);
//   an exponent only where nothing limits them; an integer is written without a point;
// - strings of a pattern, a format or an enum are written without needless escapes, formats in the
//   part that every reader accepts (automaton/pattern.h);
// - values are nested less than 200 deep; keywords of one type without "type" mean that type.
// Where more than kPlacesMax (automaton/machine.h) properties or alternatives may come next, the
// schema is refused, as far as that shows when it is compiled.
// "oneOf" is enforced where its alternatives are provably apart. "format" beyond the known ones and
// annotations say nothing. Any other keyword is an error: not, if, uniqueItems, contains, ...
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/types.h"
#include "tokenizer/tokenizer.h"

namespace fathom::grammar {

class Grammar;  // a compiled automaton; immutable

// One JSON object, whatever is in it.
std::shared_ptr<const Grammar> AnyObject();

struct SchemaOptions {
  bool refuse_lengths = false;  // minLength, maxLength, minItems, maxItems are errors
};
// Documents of the schema. Errors: a keyword that cannot be enforced, by name and place; a $ref
// that leads nowhere; a schema that no document satisfies.
Result<std::shared_ptr<const Grammar>> CompileSchema(const Json& schema,
                                                     const SchemaOptions& options = {});

struct ToolGrammar {
  std::string name;
  Json parameters;  // null: none declared
  bool is_strict =
      false;  // names and values of parameters obey the schema; else anything well-formed
};
struct ToolBlock {
  std::vector<ToolGrammar> tools;  // at least one; those that may be called
  bool is_required = false;        // the answer is a block, at once; else text that may end in one
  bool is_parallel = true;         // more than one call
  // Not required: an answer that makes no call is a document of this schema; nullopt: any text.
  std::optional<Json> text_schema = std::nullopt;
};
// Answers with tool calls in DeepSeek's DSML markup.
Result<std::shared_ptr<const Grammar>> CompileTools(const ToolBlock& block,
                                                    const SchemaOptions& options = {});
// Text in which no tool block opens.
std::shared_ptr<const Grammar> TextWithoutTools();

// What all constraints on one tokenizer share: the tokens' bytes as a tree. Thread-safe.
class Vocabulary {
 public:
  // `vocab_size` is the model's; ids without a token are never allowed.
  Vocabulary(const tokenizer::Tokenizer& tokenizer, int64_t vocab_size);
  ~Vocabulary();

 private:
  friend class AnswerConstraint;
  struct State;
  std::unique_ptr<const State> state_;
};

struct AnswerOptions {
  std::shared_ptr<const Grammar> grammar;  // null: the answer is free
  bool starts_in_reasoning = false;
  std::optional<int64_t> reasoning_tokens_max = {};  // then only </think> may come
  std::vector<TokenId> stop_tokens = {};             // allowed where the answer may end
  int64_t min_tokens = 0;                            // stop tokens are not allowed before
};

// The state of one answer. Masks are remembered by state, so that returning to one is cheap.
class AnswerConstraint {
 public:
  AnswerConstraint(std::shared_ptr<const Vocabulary> vocabulary, AnswerOptions options);
  ~AnswerConstraint();

  // Bit (id mod 64) of word (id / 64): whether the token may come next. Empty: all may, which is so
  // too where none could come, not even a stop token. Valid until the next call.
  std::span<const uint64_t> Allowed();
  // The token was taken. One that was not allowed ends the constraint: then all may come.
  void Accept(TokenId token);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::grammar
