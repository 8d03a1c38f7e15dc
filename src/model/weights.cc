// Binding a checkpoint: every slot of layout.h is looked up, checked and turned into a view or a
// float vector (the Binder), then the results are put where the forward pass reads them. Shapes
// stand in layout.cc only.
#include "model/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "model/layout.h"
#include "numerics/formats.h"

namespace fathom::model {
namespace {

using checkpoint::Checkpoint;
using tensor::DType;
using tensor::Format;
using tensor::RawView;

// Complaints listed in full; the rest is counted.
constexpr int64_t kComplaintsShown = 20;
// Of these, kept for surplus tensors however many others there are: the two together usually tell
// what happened (another layer count, another spelling).
constexpr int64_t kSurplusShownMin = 5;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

FloatVector Widen(const RawView& view) {
  FloatVector values(static_cast<size_t>(view.elements()));
  if (view.dtype == DType::kF32) {
    if (!values.empty()) std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    numerics::BF16 value;
    std::memcpy(&value, view.bytes.data() + i * sizeof value, sizeof value);
    values[i] = numerics::ToFloat(value);
  }
  return values;
}

// convert.py skips copies of the shared embedding and output head in the MTP blocks; so do we.
bool IsSharedCopy(std::string_view name) {
  if (!name.starts_with("mtp.")) return false;
  name.remove_prefix(4);
  const size_t dot = name.find('.');
  if (dot == name.npos) return false;
  name.remove_prefix(dot + 1);
  return name.starts_with("embed.") || name.starts_with("head.");
}

// Checks slots one after the other, keeps what was found and collects what was wrong.
class Binder {
 public:
  explicit Binder(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  void Bind(const Slot& slot);
  // After the last Bind: one error with all complaints, also about tensors that no slot claimed.
  Result<void> Verdict();

  // What was bound under a slot's name. A name that is no slot, or of another kind, is a CHECK.
  QuantView Matrix(const std::string& name) const { return At(name).matrix; }
  FloatVector Vector(const std::string& name) { return std::move(At(name).vector); }
  const std::byte* Table(const std::string& name) const { return At(name).table; }

 private:
  struct Bound {
    QuantView matrix;
    FloatVector vector;
    const std::byte* table = nullptr;
  };

  Bound& At(const std::string& name) {
    const auto place = bound_.find(name);
    FATHOM_CHECK(place != bound_.end(), name);
    return place->second;
  }
  const Bound& At(const std::string& name) const { return const_cast<Binder*>(this)->At(name); }

  // The tensor of that name, which is no longer surplus. Null: not there.
  const RawView* Claim(const std::string& name);
  const RawView* ClaimOrComplain(const std::string& name);
  bool HasShape(const std::string& name, const RawView& view, const std::vector<int64_t>& shape);
  void BindLinear(const Slot& slot, QuantView& matrix);
  void BindTable(const Slot& slot, const RawView& view, const std::byte*& table);
  const uint8_t* BindScale(const Slot& slot, Format format);
  std::optional<Format> LinearFormat(const Slot& slot, DType dtype);

  const Checkpoint& checkpoint_;
  std::unordered_map<std::string, Bound> bound_;
  std::unordered_set<std::string_view> claimed_;
  std::vector<std::string> complaints_;
  int64_t missing_ = 0;
};

const RawView* Binder::Claim(const std::string& name) {
  const auto place = checkpoint_.tensors().find(name);
  if (place == checkpoint_.tensors().end()) return nullptr;
  claimed_.insert(place->first);
  return &place->second;
}

const RawView* Binder::ClaimOrComplain(const std::string& name) {
  const RawView* view = Claim(name);
  if (view == nullptr) {
    complaints_.push_back(name + ": missing");
    ++missing_;
  }
  return view;
}

bool Binder::HasShape(const std::string& name, const RawView& view,
                      const std::vector<int64_t>& shape) {
  if (view.shape == shape) return true;
  complaints_.push_back(
      fmt::format("{}: expected {}, found {}", name, ShapeText(shape), ShapeText(view.shape)));
  return false;
}

std::optional<Format> Binder::LinearFormat(const Slot& slot, DType dtype) {
  if (dtype == DType::kBF16) return Format::kBF16;
  if (dtype == DType::kF8E4M3) return Format::kFp8;
  const bool is_expert = slot.kind == SlotKind::kExpert;
  if (is_expert && (dtype == DType::kI8 || dtype == DType::kU8)) {
    if (slot.shape[1] % 2 == 0) return Format::kFp4;
    complaints_.push_back(fmt::format("{}.weight: expected an even width for FP4, found {}",
                                      slot.name, slot.shape[1]));
    return std::nullopt;
  }
  complaints_.push_back(fmt::format(
      "{}.weight: expected {}, found {}", slot.name,
      is_expert ? "I8 (packed FP4), F8_E4M3 or BF16" : "F8_E4M3 or BF16", tensor::Name(dtype)));
  return std::nullopt;
}

const uint8_t* Binder::BindScale(const Slot& slot, Format format) {
  const std::string name = slot.name + ".scale";
  const RawView* view = ClaimOrComplain(name);
  if (view == nullptr) return nullptr;
  if (view->dtype != DType::kF8E8M0 && view->dtype != DType::kU8) {
    complaints_.push_back(
        fmt::format("{}: expected F8_E8M0, found {}", name, tensor::Name(view->dtype)));
    return nullptr;
  }
  if (!HasShape(name, *view, ScaleShape(format, slot.shape[0], slot.shape[1]))) return nullptr;
  return reinterpret_cast<const uint8_t*>(view->bytes.data());
}

void Binder::BindLinear(const Slot& slot, QuantView& matrix) {
  const std::string name = slot.name + ".weight";
  const RawView* view = ClaimOrComplain(name);
  const std::optional<Format> format =
      view == nullptr ? std::nullopt : LinearFormat(slot, view->dtype);
  if (!format) {
    Claim(slot.name + ".scale");  // one complaint for the pair is enough
    return;
  }
  if (*format != Format::kBF16) matrix.scale = BindScale(slot, *format);
  if (!HasShape(name, *view, WeightShape(*format, slot.shape[0], slot.shape[1]))) return;
  matrix.format = *format;
  matrix.data = view->bytes.data();
  matrix.rows = slot.shape[0];
  matrix.cols = slot.shape[1];
}

void Binder::BindTable(const Slot& slot, const RawView& view, const std::byte*& table) {
  const size_t width = static_cast<size_t>(slot.shape[1]);
  std::vector<int64_t> row(width);
  for (int64_t r = 0; r < slot.shape[0]; ++r) {
    std::memcpy(row.data(), view.bytes.data() + r * slot.shape[1] * 8, width * 8);
    bool is_valid = true;
    for (size_t a = 0; a < width; ++a) {
      is_valid &= row[a] >= 0 && row[a] < slot.entries_end;
      is_valid &= std::find(row.begin(), row.begin() + static_cast<int64_t>(a), row[a]) ==
                  row.begin() + static_cast<int64_t>(a);
    }
    if (is_valid) continue;
    complaints_.push_back(fmt::format("{}: row {}: expected distinct experts in [0,{}), found {}",
                                      slot.name, r, slot.entries_end, ShapeText(row)));
    return;
  }
  table = view.bytes.data();
}

void Binder::Bind(const Slot& slot) {
  Bound& bound = bound_[slot.name];
  if (slot.kind == SlotKind::kDense || slot.kind == SlotKind::kExpert)
    return BindLinear(slot, bound.matrix);
  const RawView* view = ClaimOrComplain(slot.name);
  if (view == nullptr) return;
  const bool is_table = slot.kind == SlotKind::kTable;
  const bool has_dtype = is_table ? view->dtype == DType::kI64
                                  : view->dtype == DType::kBF16 || view->dtype == DType::kF32;
  if (!has_dtype) {
    complaints_.push_back(fmt::format("{}: expected {}, found {}", slot.name,
                                      is_table ? "I64" : "BF16 or F32", tensor::Name(view->dtype)));
    return;
  }
  if (!HasShape(slot.name, *view, slot.shape)) return;
  switch (slot.kind) {
    case SlotKind::kVector:
      bound.vector = Widen(*view);
      break;
    case SlotKind::kTable:
      BindTable(slot, *view, bound.table);
      break;
    default:
      bound.matrix.format = view->dtype == DType::kF32 ? Format::kF32 : Format::kBF16;
      bound.matrix.data = view->bytes.data();
      bound.matrix.rows = slot.shape[0];
      bound.matrix.cols = slot.shape[1];
  }
}

Result<void> Binder::Verdict() {
  std::vector<std::string> surplus;
  for (const auto& [name, view] : checkpoint_.tensors()) {
    if (claimed_.contains(name) || IsSharedCopy(name)) continue;
    surplus.push_back(fmt::format("{}: surplus, {} {}", checkpoint::Quoted(name),
                                  tensor::Name(view.dtype), ShapeText(view.shape)));
  }
  if (complaints_.empty() && surplus.empty()) return {};
  std::string report = fmt::format(
      "{}: expected the tensors of its configuration, found {} missing, {} surplus, {} unfit",
      checkpoint_.path(), missing_, surplus.size(), std::ssize(complaints_) - missing_);
  const int64_t room = std::max(kSurplusShownMin, kComplaintsShown - std::ssize(complaints_));
  const int64_t surplus_shown = std::min(std::ssize(surplus), room);
  const int64_t others_shown = std::min(std::ssize(complaints_), kComplaintsShown - surplus_shown);
  for (int64_t i = 0; i < others_shown; ++i) report += "\n  " + complaints_[static_cast<size_t>(i)];
  for (int64_t i = 0; i < surplus_shown; ++i) report += "\n  " + surplus[static_cast<size_t>(i)];
  const int64_t rest = std::ssize(complaints_) + std::ssize(surplus) - others_shown - surplus_shown;
  if (rest > 0) report += fmt::format("\n  and {} more", rest);
  return Error{std::move(report)};
}

HyperConnectionWeights HyperConnection(Binder& b, const std::string& prefix) {
  return {b.Matrix(prefix + "_fn"), b.Vector(prefix + "_base"), b.Vector(prefix + "_scale")};
}

CompressorWeights Compressor(Binder& b, const std::string& prefix) {
  return {b.Matrix(prefix + "wkv.weight"), b.Matrix(prefix + "wgate.weight"),
          b.Vector(prefix + "ape"), b.Vector(prefix + "norm.weight")};
}

AttentionWeights Attention(Binder& b, const std::string& prefix, LayerKind kind) {
  AttentionWeights attn;
  attn.attn_sink = b.Vector(prefix + "attn_sink");
  attn.wq_a = b.Matrix(prefix + "wq_a");
  attn.q_norm = b.Vector(prefix + "q_norm.weight");
  attn.wq_b = b.Matrix(prefix + "wq_b");
  attn.wkv = b.Matrix(prefix + "wkv");
  attn.kv_norm = b.Vector(prefix + "kv_norm.weight");
  attn.wo_a = b.Matrix(prefix + "wo_a");
  attn.wo_b = b.Matrix(prefix + "wo_b");
  if (kind != LayerKind::kWindow) attn.compressor = Compressor(b, prefix + "compressor.");
  if (kind == LayerKind::kCsa) {
    attn.indexer = IndexerWeights{b.Matrix(prefix + "indexer.wq_b"),
                                  b.Matrix(prefix + "indexer.weights_proj.weight"),
                                  Compressor(b, prefix + "indexer.compressor.")};
  }
  return attn;
}

ExpertWeights Expert(Binder& b, const std::string& prefix) {
  return {b.Matrix(prefix + "w1"), b.Matrix(prefix + "w2"), b.Matrix(prefix + "w3")};
}

MoeWeights Moe(Binder& b, const Config& config, const std::string& prefix, bool is_hashed) {
  MoeWeights ffn;
  ffn.gate.weight = b.Matrix(prefix + "gate.weight");
  if (is_hashed) {
    ffn.gate.tid2eid = b.Table(prefix + "gate.tid2eid");
  } else {
    ffn.gate.bias = b.Vector(prefix + "gate.bias");
  }
  for (int64_t e = 0; e < config.n_routed_experts; ++e)
    ffn.experts.push_back(Expert(b, fmt::format("{}experts.{}.", prefix, e)));
  if (config.n_shared_experts > 0) ffn.shared_experts = Expert(b, prefix + "shared_experts.");
  return ffn;
}

LayerWeights Block(Binder& b, const Config& config, const std::string& prefix, int64_t ratio,
                   bool is_hashed) {
  LayerWeights layer;
  layer.ratio = ratio;
  layer.attn_norm = b.Vector(prefix + "attn_norm.weight");
  layer.ffn_norm = b.Vector(prefix + "ffn_norm.weight");
  layer.hc_attn = HyperConnection(b, prefix + "hc_attn");
  layer.hc_ffn = HyperConnection(b, prefix + "hc_ffn");
  layer.attn = Attention(b, prefix + "attn.", KindOfRatio(ratio));
  layer.ffn = Moe(b, config, prefix + "ffn.", is_hashed);
  return layer;
}

MtpWeights Mtp(Binder& b, const Config& config) {
  MtpWeights mtp;
  mtp.block = Block(b, config, "mtp.0.", 0, /*is_hashed=*/false);
  mtp.e_proj = b.Matrix("mtp.0.e_proj");
  mtp.h_proj = b.Matrix("mtp.0.h_proj");
  mtp.enorm = b.Vector("mtp.0.enorm.weight");
  mtp.hnorm = b.Vector("mtp.0.hnorm.weight");
  mtp.norm = b.Vector("mtp.0.norm.weight");
  mtp.hc_head = HyperConnection(b, "mtp.0.hc_head");
  return mtp;
}

DsparkWeights Dspark(Binder& b, const Config& config) {
  DsparkWeights dspark;
  for (int64_t stage = 0; stage < config.dspark->stages; ++stage) {
    dspark.stages.push_back(
        Block(b, config, fmt::format("mtp.{}.", stage), 0, /*is_hashed=*/false));
  }
  const std::string last = fmt::format("mtp.{}.", config.dspark->stages - 1);
  dspark.main_proj = b.Matrix("mtp.0.main_proj");
  dspark.main_norm = b.Vector("mtp.0.main_norm.weight");
  dspark.norm = b.Vector(last + "norm.weight");
  dspark.hc_head = HyperConnection(b, last + "hc_head");
  dspark.markov_w1 = b.Matrix(last + "markov_head.markov_w1.weight");
  dspark.markov_w2 = b.Matrix(last + "markov_head.markov_w2.weight");
  dspark.confidence = b.Matrix(last + "confidence_head.proj.weight");
  return dspark;
}

// What the mtp.* tensors are, by their names: model cards and configurations lag behind the files.
Result<SpeculativeHead> HeadIn(const Checkpoint& opened, const Config& config) {
  constexpr const char* kDsparkName = "mtp.0.main_proj.weight";
  if (opened.Find(kDsparkName) != nullptr) {
    if (config.dspark) return SpeculativeHead::kDspark;
    return Error{fmt::format("{}: {}: expected dspark_* keys in the configuration, found none",
                             opened.path(), kDsparkName)};
  }
  const checkpoint::TensorMap& tensors = opened.tensors();
  for (auto it = tensors.lower_bound("mtp."); it != tensors.end(); ++it) {
    if (!it->first.starts_with("mtp.")) break;
    if (!IsSharedCopy(it->first)) return SpeculativeHead::kMtp;
  }
  return SpeculativeHead::kNone;
}

}  // namespace

Result<Weights> BindWeights(const Config& config, const Checkpoint& opened) {
  FATHOM_TRY(const SpeculativeHead head, HeadIn(opened, config));
  Binder binder(opened);
  for (const Slot& slot : Slots(config, head)) binder.Bind(slot);
  FATHOM_TRY_VOID(binder.Verdict());

  Weights weights;
  weights.embed = binder.Matrix("embed.weight");
  weights.head = binder.Matrix("head.weight");
  weights.norm = binder.Vector("norm.weight");
  weights.hc_head = HyperConnection(binder, "hc_head");
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    weights.layers.push_back(Block(binder, config, fmt::format("layers.{}.", i), config.ratio(i),
                                   /*is_hashed=*/i < config.num_hash_layers));
  }
  if (head == SpeculativeHead::kMtp) weights.mtp = Mtp(binder, config);
  if (head == SpeculativeHead::kDspark) weights.dspark = Dspark(binder, config);
  return weights;
}

Result<LoadedModel> LoadedModel::Load(const std::string& dir, const LoadOptions& load) {
  FATHOM_TRY(Config config, LoadConfig(dir));
  FATHOM_TRY(Checkpoint opened, Checkpoint::Open(dir, load));
  FATHOM_TRY(Weights weights, BindWeights(config, opened));
  return LoadedModel(std::move(config), std::move(opened), std::move(weights));
}

}  // namespace fathom::model
