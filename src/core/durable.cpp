#include "core/durable.h"

#include "core/fields.h"

namespace orchestra {
namespace {

constexpr std::string_view kVoteMagic = "ORCHVOTE";
constexpr std::string_view kMarkerMagic = "ORCHMARK";
constexpr std::uint32_t kVoteFormat = 3;
constexpr std::uint32_t kMarkerFormat = 1;

template <class T>
std::string EncodeFile(std::string_view magic, std::uint32_t format, const T& value) {
  Writer out;
  out.Raw(magic);
  out(format);
  out(value);
  return Seal(out.Take());
}

template <class T>
std::variant<T, std::string> DecodeFile(std::string_view magic, std::uint32_t known,
                                        std::string_view bytes) {
  if (!bytes.starts_with(magic)) return "it does not begin with " + std::string(magic);
  const auto unsealed = Unseal(bytes);
  if (!unsealed) return std::string("its checksum does not match its content");
  Reader in(unsealed->substr(magic.size()));
  std::uint32_t format = 0;
  in(format);
  if (in.ok() && format != known)
    return "its format " + std::to_string(format) + " is unknown to this version of orchestra";
  T value{};
  in(value);
  if (!in.Complete()) return std::string("its content is malformed");
  return value;
}

}  // namespace

bool IsFormerPrimary(const Durable& d) {
  return d.committed && d.wrote_epoch != EpochId{} &&
         d.committed->value->primary != d.identity.node;
}

bool Manages(const Durable& d) {
  if (!d.committed) return true;
  const RegisterValue& value = *d.committed->value;
  const bool fenced = d.fenced >= value.epoch && d.fenced_version > value.version;
  return Enforces(value) || fenced || IsFormerPrimary(d);
}

std::string EncodeDurable(const Durable& durable) {
  return EncodeFile(kVoteMagic, kVoteFormat, durable);
}

std::variant<Durable, std::string> DecodeDurable(std::string_view bytes) {
  return DecodeFile<Durable>(kVoteMagic, kVoteFormat, bytes);
}

std::string EncodeMarker(const Marker& marker) {
  return EncodeFile(kMarkerMagic, kMarkerFormat, marker);
}

std::variant<Marker, std::string> DecodeMarker(std::string_view bytes) {
  return DecodeFile<Marker>(kMarkerMagic, kMarkerFormat, bytes);
}

}  // namespace orchestra
