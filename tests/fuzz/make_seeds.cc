// Writes the seeds of the fuzz targets that follow from the tables and the encoders: one file for a call and case.
// Usage: fuzz_make_seeds SEEDS_FOLDER. What people or a fuzzer found is kept beside them and is not touched.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>

#include "daemon/audit/audit_record.h"
#include "daemon/custody/records.h"
#include "pkcs11/spec/template_codec.h"
#include "pkcs11/wire/trailer.h"
#include "tests/calls/fill.h"
#include "tests/keystore/store_testing.h"

namespace cmkd::tests {
namespace {

std::filesystem::path g_folder;
constexpr std::size_t kSeedBytesMax = 600;

void Write(const std::string& target, const std::string& name, ByteView head, ByteView rest) {
  std::filesystem::create_directories(g_folder / target);
  std::ofstream file(g_folder / target / name, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(head.data()), static_cast<std::streamsize>(head.size()));
  file.write(reinterpret_cast<const char*>(rest.data()), static_cast<std::streamsize>(rest.size()));
}

Bytes Head(spec::CallId id) {
  const std::uint16_t number = spec::WireId(id);
  return {static_cast<std::uint8_t>(number), static_cast<std::uint8_t>(number >> 8)};
}

// The smallest and the largest of some requests, of those that fit a seed.
void WriteRequests() {
  for (const spec::CallId id : CallsOnTheWire()) {
    Bytes least;
    Bytes most;
    for (std::uint64_t seed = 0; seed < 64; ++seed) {
      const auto call = MakeCall(id);
      RequestFiller filler(seed);
      call->Visit(filler);
      wire::Buffer buffer;
      wire::Writer w(buffer);
      call->Encode(w);
      const Bytes bytes = ToBytes(buffer.view());
      if (bytes.size() > kSeedBytesMax) continue;
      if (seed == 0 || least.empty() || bytes.size() < least.size()) least = bytes;
      if (bytes.size() > most.size()) most = bytes;
    }
    const std::string name(spec::Row(id).name);
    Write("request", name + ".least", Head(id), least);
    if (most.size() > least.size()) Write("request", name + ".most", Head(id), most);
  }
}

void WriteReplies() {
  for (const spec::CallId id : CallsOnTheWire()) {
    for (std::uint64_t seed = 0; seed < 64; ++seed) {
      const auto sent = MakeCall(id);
      RequestFiller filler(seed);
      sent->Visit(filler);
      wire::Buffer request;
      wire::Writer w(request);
      sent->Encode(w);
      const auto received = MakeCall(id);
      wire::Arena arena;
      wire::Reader r(request.view());
      if (sent->Check() != CKR_OK || received->Decode(r, arena) != CKR_OK) continue;
      ResultFiller results(seed, CKR_OK);
      received->Visit(results);
      wire::Buffer response;
      wire::Writer answer(response);
      answer.U64(CKR_OK);
      received->EncodeResults(answer, CKR_OK);
      if (response.size() < 9 || response.size() > kSeedBytesMax) continue;
      Bytes head = Head(id);
      head.push_back(static_cast<std::uint8_t>(seed));
      Write("reply", std::string(spec::Row(id).name) + ".ok", head, response.view());
      break;
    }
  }
  wire::Buffer trailers;
  wire::Writer w(trailers);
  w.U64(CKR_OK);
  const Bytes blob(30, 2);
  for (const wire::TrailerKind kind :
       {wire::TrailerKind::kTicket, wire::TrailerKind::kSessionObject, wire::TrailerKind::kForgetObject,
        wire::TrailerKind::kOtpSignature, wire::TrailerKind::kRefusedKey, wire::TrailerKind::kEnd}) {
    wire::WriteTrailer(w, {kind, 1, 2, blob});
  }
  Bytes head = Head(spec::CallId::C_CloseSession);
  head.push_back(0);
  Write("reply", "C_CloseSession.trailers", head, trailers.view());
}

// One of each parameter kind and length.
void WriteMechanisms() {
  std::set<std::pair<spec::ParameterKind, std::size_t>> seen;
  for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
    RequestFiller filler(seed);
    spec::Mechanism shape;
    filler.On(shape);
    if (shape.value == nullptr || shape.Check() != CKR_OK) continue;
    const spec::MechanismRow* row = spec::FindMechanism(shape.value->mechanism);
    if (row == nullptr || spec::LayoutFor(row->parameter, shape.value->ulParameterLen) == nullptr) continue;
    if (row->parameter == spec::ParameterKind::kBytes && shape.value->ulParameterLen != 16) continue;
    if (!seen.insert({row->parameter, shape.value->ulParameterLen}).second) continue;
    wire::Buffer buffer;
    wire::Writer w(buffer);
    wire::EncodeRequest(w, shape);
    Write("mechanism", std::string(row->name) + '.' + std::to_string(shape.value->ulParameterLen), {}, buffer.view());
  }
}

// A derivation of three keys: two templates in the parameter, one with a template in it.
void WriteSeveralKeys() {
  CK_SP800_108_COUNTER_FORMAT counter{CK_FALSE, 32};
  CK_SP800_108_DKM_LENGTH_FORMAT length{CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS, CK_FALSE, 32};
  CK_PRF_DATA_PARAM parts[] = {{CK_SP800_108_ITERATION_VARIABLE, &counter, sizeof counter},
                               {CK_SP800_108_DKM_LENGTH, &length, sizeof length}};
  CK_ULONG bytes = 32;
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE inner{CKA_SIGN, &yes, sizeof yes};
  CK_ATTRIBUTE plain[] = {{CKA_VALUE_LEN, &bytes, sizeof bytes}, {CKA_SIGN, &yes, sizeof yes}};
  CK_ATTRIBUTE deep[] = {{CKA_VALUE_LEN, &bytes, sizeof bytes}, {CKA_WRAP_TEMPLATE, &inner, sizeof inner}};
  CK_OBJECT_HANDLE handles[2] = {};
  CK_DERIVED_KEY keys[] = {{plain, 2, &handles[0]}, {deep, 2, &handles[1]}};
  CK_SP800_108_KDF_PARAMS parameter{CKM_SHA256_HMAC, 2, parts, 2, keys};
  CK_MECHANISM mechanism{CKM_SP800_108_COUNTER_KDF, &parameter, sizeof parameter};
  spec::Mechanism shape;
  shape.value = &mechanism;
  wire::Buffer buffer;
  wire::Writer w(buffer);
  wire::EncodeRequest(w, shape);
  Write("mechanism", "CKM_SP800_108_COUNTER_KDF.several-keys", {}, buffer.view());
}

void WriteTemplate(const std::string& name, std::uint8_t head, const spec::Attributes& attributes) {
  const spec::CTemplate list = attributes.ToTemplate();
  const auto flat = spec::EncodeTemplate(list.view());
  if (flat.ok()) Write("template", name, Bytes{head}, *flat);
}

void WriteTemplates() {
  spec::Attributes aes;
  aes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  aes.SetUlong(CKA_KEY_TYPE, CKK_AES);
  aes.SetBool(CKA_TOKEN, true);
  aes.SetBool(CKA_ENCRYPT, true);
  aes.SetText(CKA_LABEL, "a key");
  spec::Attributes generated = aes;
  generated.SetUlong(CKA_VALUE_LEN, 32);
  aes.Set(CKA_VALUE, Bytes(32, 9));
  WriteTemplate("create.aes", 0, aes);
  WriteTemplate("generate.aes", 1, generated);
  WriteTemplate("generate.aes-managed", 0x80 + 1, generated);
  WriteTemplate("unwrap.aes", 2, generated);
  WriteTemplate("derive.aes", 3, generated);
  spec::Attributes label;
  label.SetText(CKA_LABEL, "another name");
  label.SetBool(CKA_SENSITIVE, true);
  WriteTemplate("copy.label", 4, label);
  WriteTemplate("set.label", 5, label);
  spec::Attributes data;
  data.SetUlong(CKA_CLASS, CKO_DATA);
  data.SetText(CKA_APPLICATION, "seeds");
  data.Set(CKA_VALUE, Bytes(10, 3));
  WriteTemplate("create.data", 6 * 3, data);
  spec::Attributes rsa;
  rsa.SetUlong(CKA_CLASS, CKO_PUBLIC_KEY);
  rsa.SetUlong(CKA_KEY_TYPE, CKK_RSA);
  rsa.Set(CKA_MODULUS, Bytes(256, 0xc5));
  rsa.Set(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1});
  WriteTemplate("create.rsa-public", 6, rsa);
  // Templates in templates, to the last depth and one more.
  Bytes flat = *spec::EncodeTemplate({});
  for (int depth = 2; depth <= 5; ++depth) {
    Bytes outer{1, 0, 0, 0};
    const std::uint64_t numbers[] = {CKA_WRAP_TEMPLATE, flat.size()};
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(numbers);
    outer.insert(outer.end(), bytes, bytes + sizeof numbers);
    outer.insert(outer.end(), flat.begin(), flat.end());
    flat = outer;
    if (depth >= 4) Write("template", "create.depth-" + std::to_string(depth), Bytes{0}, flat);
  }
}

template <class Record, class Make>
void WriteRecord(const std::string& name, std::uint8_t kind, Make make) {
  for (std::uint64_t seed = 1; seed < 200; ++seed) {
    store::Random random(seed);
    const Record record = make(random);
    const Bytes bytes = store::Encode(record);
    if (bytes.size() > kSeedBytesMax) continue;
    Write("record", name, Bytes{kind}, bytes);
    return;
  }
}

void WriteRecords() {
  store::MetaRecord meta;
  meta.meta.schema = 1;
  Write("record", "meta.first", Bytes{0}, store::Encode(meta));
  WriteRecord<store::TokenRecord>("token.random", 1, store::RandomToken);
  WriteRecord<store::ObjectRecord>("object.random", 2, store::RandomObject);
  WriteRecord<cmk::Cmk>("cmk.random", 3, store::RandomCmk);
  WriteRecord<store::RequestRecord>("request.random", 4, store::RandomRequest);
  Write("record", "count.seven", Bytes{5}, store::EncodeCount(7));
  daemon::Object object;
  object.handle = daemon::kSessionObjectBase + 1;
  object.session = 1;
  object.attributes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
  object.attributes.SetUlong(CKA_KEY_TYPE, CKK_AES);
  object.attributes.SetText(CKA_LABEL, "of a session");
  object.Describe();
  Write("sealed", "session_object.unpack", Bytes{2}, daemon::PackObject(object));
  Write("sealed", "session_object.seal", Bytes{1}, daemon::PackObject(object));
  Write("sealed", "noise.open", Bytes{0}, Bytes(60, 0x77));
}

// A segment with an event and a checkpoint; the target puts the chain right.
void WriteAudit() {
  Bytes segment;
  std::uint64_t sequence = 1;
  const auto add = [&](const Bytes& buffer, std::size_t written) {
    Bytes record(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(written));
    daemon::StampRecord(record, sequence++, 1'800'000'000'000'000'000, 5'000'000'000);
    segment.insert(segment.end(), record.begin(), record.end());
    segment.resize(segment.size() + daemon::kAuditChainBytes);
  };
  Bytes buffer(daemon::kAuditRecordBytesMax);
  daemon::SegmentStart start;
  start.log_id.fill(3);
  start.number = 1;
  add(buffer, daemon::EncodeSegmentStart(start, buffer));
  Write("audit", "segment.start", Bytes{1}, segment);
  daemon::AuditRecord event;
  event.kind = daemon::AuditKind::kChange;
  event.text = "key.rotate";
  event.call = 0x1e;
  std::fill(buffer.begin(), buffer.end(), std::uint8_t{0});
  add(buffer, daemon::EncodeEvent(event, buffer));
  Write("audit", "segment.event", Bytes{1}, segment);
  Bytes torn = segment;
  torn.resize(torn.size() - 20);
  Write("audit", "segment.torn", Bytes{1}, torn);
  daemon::Checkpoint checkpoint;
  checkpoint.sequence = 2;
  checkpoint.closing = true;
  std::fill(buffer.begin(), buffer.end(), std::uint8_t{0});
  add(buffer, daemon::EncodeCheckpoint(checkpoint, buffer));
  Write("audit", "segment.checkpoint", Bytes{1}, segment);
  segment.resize(segment.size() + 64);
  Write("audit", "segment.zeroes", Bytes{1}, segment);
  Write("audit", "segment.chain", Bytes{0}, segment);
}

}  // namespace
}  // namespace cmkd::tests

int main(int argc, char** argv) {
  using namespace cmkd::tests;
  if (argc != 2) {
    std::cerr << "usage: fuzz_make_seeds SEEDS_FOLDER\n";
    return 2;
  }
  g_folder = argv[1];
  WriteRequests();
  WriteReplies();
  WriteMechanisms();
  WriteSeveralKeys();
  WriteTemplates();
  WriteRecords();
  WriteAudit();
  return 0;
}
