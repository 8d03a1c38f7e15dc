// Inside of the room: checks of recorded operator tables, each on the code that the forward pass
// runs. An operator's tables are named <op>.<table>.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "kernels/context.h"
#include "verify/recorded.h"
#include "verify/report.h"

namespace fathom::verify {

using Checks = std::vector<Check>;

struct OpContext {
  Recorded& tables;
  const Json& params;  // ops.json, "params"
  kernels::Context official;
  kernels::Context pure;

  Result<FloatTable> Floats(const std::string& op, const char* table,
                            std::vector<int64_t> shape) const {
    return tables.Floats(op + "." + table, std::move(shape));
  }
  Result<IntTable> Ints(const std::string& op, const char* table,
                        std::vector<int64_t> shape) const {
    return tables.Ints(op + "." + table, std::move(shape));
  }
  // A stored matrix as the kernels read it. BF16, F8_E4M3 (with the table `scale`) or I8 for packed
  // FP4 (likewise).
  Result<tensor::QuantView> Weight(const std::string& op, const char* table) const;
  // params[op][name].
  Result<double> Param(const std::string& op, const char* name) const;
};

using OpCheck = Result<Checks> (*)(const std::string& op, const OpContext& context);

// Exact equality, NaN equal to NaN: the number of entries that differ, at most 0.
void AddExact(const std::string& what, MatrixView<const float> own, MatrixView<const float> golden,
              Checks& checks);
void AddExact(const std::string& what, const std::vector<int64_t>& own,
              const std::vector<int64_t>& golden, Checks& checks);
// The largest distance in BF16 steps, at most 1.
void AddBf16(const std::string& what, MatrixView<const float> own, MatrixView<const float> golden,
             Checks& checks);
// The largest |a - b| / max(|b|, root mean square of b's row), at most 1e-5: an entry that is small
// because its terms cancel is measured against its neighbours.
void AddF32(const std::string& what, MatrixView<const float> own, MatrixView<const float> golden,
            Checks& checks);

// op_formats.cc
Result<Checks> CheckDecodeTables(const std::string& op, const OpContext& context);
Result<Checks> CheckEncodeE4M3(const std::string& op, const OpContext& context);
Result<Checks> CheckEncodeE2M1(const std::string& op, const OpContext& context);
Result<Checks> CheckPow2Ceil(const std::string& op, const OpContext& context);
Result<Checks> CheckActQuant(const std::string& op, const OpContext& context);
Result<Checks> CheckActQuantInPlace(const std::string& op, const OpContext& context);
Result<Checks> CheckFp4ActQuant(const std::string& op, const OpContext& context);
Result<Checks> CheckHadamard(const std::string& op, const OpContext& context);

// op_attention.cc
Result<Checks> CheckRope(const std::string& op, const OpContext& context);
Result<Checks> CheckCompress(const std::string& op, const OpContext& context);
Result<Checks> CheckSparseAttention(const std::string& op, const OpContext& context);
Result<Checks> CheckWindowLists(const std::string& op, const OpContext& context);
Result<Checks> CheckHcaLists(const std::string& op, const OpContext& context);
Result<Checks> CheckIndexScore(const std::string& op, const OpContext& context);
Result<Checks> CheckGroupedProjection(const std::string& op, const OpContext& context);
Result<Checks> CheckHeadNorm(const std::string& op, const OpContext& context);

// op_layers.cc
Result<Checks> CheckSinkhorn(const std::string& op, const OpContext& context);
Result<Checks> CheckHyperConnection(const std::string& op, const OpContext& context);
Result<Checks> CheckHyperConnectionHead(const std::string& op, const OpContext& context);
Result<Checks> CheckGate(const std::string& op, const OpContext& context);
Result<Checks> CheckHashGate(const std::string& op, const OpContext& context);
Result<Checks> CheckSwiGlu(const std::string& op, const OpContext& context);
Result<Checks> CheckQuantizedProduct(const std::string& op, const OpContext& context);
Result<Checks> CheckRmsNorm(const std::string& op, const OpContext& context);

// Of every norm of the published models; the tables do not state it.
inline constexpr float kNormEps = 1e-6f;

}  // namespace fathom::verify
