#include "verify/runner.h"

#include <algorithm>

#include "verify/compare.h"

namespace fathom::verify {

using model::BatchItem;
using model::LogitRows;

Runner::Runner(const model::LoadedModel& loaded, kernels::Path path, int threads, int64_t chunk)
    : loaded_(loaded), path_(path), chunk_(chunk), pool_(threads) {
  FATHOM_CHECK_GE(chunk, int64_t{1});
}

model::Executor Runner::MakeExecutor(numerics::Mode mode, int64_t tokens_max) {
  return model::Executor(config(), weights(), {.batch_tokens_max = std::min(chunk_, tokens_max)},
                         context(mode));
}

int64_t Runner::RecordedSlots(int64_t prompt_len) const {
  return std::min(prompt_len, config().sliding_window);
}

Runner::Logits Runner::Run(std::span<const TokenId> ids, int64_t prompt_len, const Wanted& wanted,
                           numerics::Mode mode, Slots slots) {
  const int64_t vocab = config().vocab_size, count = std::ssize(ids);
  model::Executor executor = MakeExecutor(mode, count);
  model::Sequence sequence(config(), count, mode);
  Logits result{MakeTable(std::ssize(wanted.logits), vocab),
                MakeTable(std::ssize(wanted.mtp), vocab)};
  FloatTable pass_logits = MakeTable(std::min(chunk_, count), vocab);
  // Copies the wanted ones of the rows that stand at [position, position + rows).
  const auto keep = [&](std::span<const int64_t> positions, int64_t position, int64_t rows,
                        FloatTable& out) {
    for (auto it = std::lower_bound(positions.begin(), positions.end(), position);
         it != positions.end() && *it < position + rows; ++it)
      std::copy_n(pass_logits.view().row(*it - position), vocab,
                  out.view().row(it - positions.begin()));
  };
  for (int64_t at = 0; at < count;) {
    const int64_t rows = at < prompt_len ? std::min(chunk_, prompt_len - at) : 1;
    const auto first = std::lower_bound(wanted.logits.begin(), wanted.logits.end(), at);
    const bool wants = first != wanted.logits.end() && *first < at + rows;
    const BatchItem item{
        &sequence, ids.subspan(static_cast<size_t>(at), static_cast<size_t>(rows)),
        wants ? LogitRows::kAll : LogitRows::kNone,
        slots == Slots::kAsRecorded && at < prompt_len ? RecordedSlots(prompt_len) : 0};
    executor.Forward({&item, 1}, pass_logits.view().rows_from(0, wants ? rows : 0));
    if (wants) keep(wanted.logits, at, rows, result.logits);
    const int64_t mtp_rows = std::min(rows, count - 1 - at);
    if (!wanted.mtp.empty() && mtp_rows > 0) {
      const auto next = ids.subspan(static_cast<size_t>(at + 1), static_cast<size_t>(mtp_rows));
      executor.ForwardMtp({&sequence, at, next, executor.streams().rows_from(0, mtp_rows)},
                          pass_logits.view().rows_from(0, mtp_rows));
      keep(wanted.mtp, at, mtp_rows, result.mtp);
    }
    at += rows;
  }
  return result;
}

Runner::Greedy Runner::RunGreedy(std::span<const TokenId> prompt, int64_t count) {
  const int64_t vocab = config().vocab_size;
  model::Executor executor = MakeExecutor(numerics::Mode::kOfficial, std::ssize(prompt));
  model::Sequence sequence(config(), std::ssize(prompt) + count, numerics::Mode::kOfficial);
  Greedy result{{}, MakeTable(count, vocab)};
  std::span<const TokenId> left = prompt;
  while (std::ssize(left) > chunk_) {
    const BatchItem item{&sequence, left.first(static_cast<size_t>(chunk_)), LogitRows::kNone,
                         RecordedSlots(std::ssize(prompt))};
    executor.Forward({&item, 1}, {});
    left = left.subspan(static_cast<size_t>(chunk_));
  }
  TokenId last = 0;
  for (int64_t i = 0; i < count; ++i) {
    const BatchItem item{&sequence, left, LogitRows::kLast,
                         i == 0 ? RecordedSlots(std::ssize(prompt)) : 0};
    executor.Forward({&item, 1}, result.logits.view().rows_from(i, 1));
    last = static_cast<TokenId>(ArgMax(result.logits.view().row(i), vocab));
    result.generated.push_back(last);
    left = {&last, 1};
  }
  return result;
}

}  // namespace fathom::verify
