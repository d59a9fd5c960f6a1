// Every step is counted; at the chosen one the answer is a lie or the power is gone.
#include "keystore/store/fault_store.h"

#include <utility>

namespace cmkd::store {
namespace {

using cmk::Cmk;
using cmk::CmkId;
using cmk::ObjectSerial;
using cmk::TokenId;

Failure<StoreError> Faulty() { return Refuse(StoreErrorKind::kIo, "a fault on purpose"); }

class FaultWriteTxn : public WriteTxn {
 public:
  FaultWriteTxn(FaultStore& store, std::unique_ptr<WriteTxn> inner) : store_(store), inner_(std::move(inner)) {}

  const char* label() const override { return inner_->label(); }

  StoreResult<Meta> ReadMeta() const override { return inner_->ReadMeta(); }
  StoreResult<std::optional<TokenRecord>> FindToken(const TokenId& id) const override { return inner_->FindToken(id); }
  StoreResult<std::vector<TokenRecord>> ListTokens() const override { return inner_->ListTokens(); }
  StoreResult<std::optional<ObjectRecord>> FindObject(ObjectSerial serial) const override {
    return inner_->FindObject(serial);
  }
  StoreResult<std::vector<ObjectSerial>> FindObjects(const TokenId& token, std::span<const Term> terms,
                                                     ObjectSerial after, std::size_t limit) const override {
    return inner_->FindObjects(token, terms, after, limit);
  }
  StoreResult<std::uint64_t> CountObjects(const TokenId& token) const override { return inner_->CountObjects(token); }
  StoreResult<std::optional<Cmk>> FindCmk(const CmkId& id) const override { return inner_->FindCmk(id); }
  StoreResult<std::vector<CmkId>> FindCmksByName(const TokenId& token, std::string_view name) const override {
    return inner_->FindCmksByName(token, name);
  }
  StoreResult<std::vector<Cmk>> ListCmks(const CmkId& after, std::size_t limit) const override {
    return inner_->ListCmks(after, limit);
  }
  StoreResult<std::vector<Cmk>> ListCmksOfToken(const TokenId& token, const CmkId& after,
                                                std::size_t limit) const override {
    return inner_->ListCmksOfToken(token, after, limit);
  }
  StoreResult<std::vector<DueCmk>> DueBefore(Timestamp time, std::size_t limit) const override {
    return inner_->DueBefore(time, limit);
  }
  StoreResult<std::vector<cmk::ClientUse>> FindClientUses(const cmk::CmkId& id,
                                                          cmk::KeyVersionNumber version) const override {
    return inner_->FindClientUses(id, version);
  }
  StoreResult<std::optional<RequestRecord>> FindRequest(ByteView tag, Timestamp now) const override {
    return inner_->FindRequest(tag, now);
  }

  StoreResult<ObjectSerial> NextObjectSerial() override {
    return Step([&] { return inner_->NextObjectSerial(); });
  }
  StoreResult<std::uint64_t> NextSlot() override {
    return Step([&] { return inner_->NextSlot(); });
  }
  StoreResult<void> PutTime(const cmk::TimeRecord& time) override {
    return Step([&] { return inner_->PutTime(time); });
  }
  StoreResult<void> RaiseGeneration(std::uint64_t generation) override {
    return Step([&] { return inner_->RaiseGeneration(generation); });
  }
  StoreResult<void> PutToken(const TokenRecord& token) override {
    return Step([&] { return inner_->PutToken(token); });
  }
  StoreResult<void> DeleteToken(const TokenId& id) override {
    return Step([&] { return inner_->DeleteToken(id); });
  }
  StoreResult<void> PutObject(const ObjectRecord& object) override {
    return Step([&] { return inner_->PutObject(object); });
  }
  StoreResult<void> DeleteObject(ObjectSerial serial) override {
    return Step([&] { return inner_->DeleteObject(serial); });
  }
  StoreResult<void> PutCmk(const Cmk& cmk, NameRule rule) override {
    return Step([&] { return inner_->PutCmk(cmk, rule); });
  }
  StoreResult<void> DeleteCmk(const CmkId& id) override {
    return Step([&] { return inner_->DeleteCmk(id); });
  }
  StoreResult<void> PutClientUses(const cmk::CmkId& id, cmk::KeyVersionNumber version,
                                  const std::vector<cmk::ClientUse>& clients) override {
    return Step([&] { return inner_->PutClientUses(id, version, clients); });
  }
  StoreResult<void> PutRequest(const RequestRecord& request, Timestamp now) override {
    return Step([&] { return inner_->PutRequest(request, now); });
  }
  StoreResult<void> Commit() override {
    return Step([&] { return inner_->Commit(); });
  }

 private:
  // A refused step spoils the transaction, as it would in a store whose disk had failed.
  template <class Action>
  auto Step(Action action) -> decltype(action()) {
    if (spoiled_) return Faulty();
    switch (store_.NextStep(inner_->label())) {
      case FaultStore::Verdict::kGoOn: return action();
      case FaultStore::Verdict::kDoAndRefuse: (void)action(); [[fallthrough]];
      case FaultStore::Verdict::kRefuse: break;
    }
    spoiled_ = true;
    return Faulty();
  }

  FaultStore& store_;
  std::unique_ptr<WriteTxn> inner_;
  bool spoiled_ = false;
};

}  // namespace

void FaultStore::Arm(Fault fault, std::uint64_t step, bool repeat) {
  fault_ = fault;
  strike_at_ = step;
  repeat_ = repeat;
  steps_ = 0;
  struck_label_ = nullptr;
}

void FaultStore::Restart() {
  power_lost_ = false;
  Arm(Fault::kNone, 0);
}

std::string FaultStore::struck_label() const {
  const char* label = struck_label_.load();
  return label == nullptr ? "" : label;
}

FaultStore::Verdict FaultStore::NextStep(const char* label) {
  if (power_lost_) return Verdict::kRefuse;
  const std::uint64_t step = ++steps_;
  const Fault fault = fault_;
  const bool strikes = fault != Fault::kNone && (step == strike_at_ || (repeat_ && step > strike_at_));
  if (!strikes) return Verdict::kGoOn;
  struck_label_ = label;
  if (fault == Fault::kPowerLossBefore || fault == Fault::kPowerLossAfter) power_lost_ = true;
  const bool after = fault == Fault::kFailAfter || fault == Fault::kPowerLossAfter;
  return after ? Verdict::kDoAndRefuse : Verdict::kRefuse;
}

StoreResult<std::unique_ptr<ReadTxn>> FaultStore::BeginRead() const {
  if (power_lost_) return Faulty();
  return inner_.BeginRead();
}

StoreResult<std::unique_ptr<WriteTxn>> FaultStore::BeginWrite(const char* label) {
  if (power_lost_) return Faulty();
  ASSIGN_OR_RETURN(std::unique_ptr<WriteTxn> inner, inner_.BeginWrite(label));
  return std::unique_ptr<WriteTxn>(new FaultWriteTxn(*this, std::move(inner)));
}

}  // namespace cmkd::store
