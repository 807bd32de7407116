// merge.cpp — see merge.h.
#include "model/merge.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include <unistd.h>

#include "formats/model_file.h"
#include "model/checkpoint.h"
#include "model/weights.h"
#include "support/check.h"
#include "support/files.h"

namespace skintern {

namespace {

// Beside config.json and the weights a folder may hold these; a merged model speaks the same tokens.
const char* const kTokenizerFiles[] = {
    "tokenizer.json",     "tokenizer_config.json",   "tokenizer.model",   "vocab.json",
    "merges.txt",         "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "generation_config.json"};

// Rows of random ids of the comparison. The seed is the method's own: every run compares the same.
constexpr uint64_t kSeed = 1;
constexpr int64_t kSequences = 4, kLength = 32;

// In the metadata of a merged model: where it comes from, and that it may be made again.
constexpr const char* kMergedFrom = "skintern_merged_from";

// Nothing, an empty folder, or the work of an earlier merge. Anything else is somebody's, the base model above all.
bool may_be_replaced(const std::string& folder) {
    std::error_code error;
    if (!std::filesystem::exists(folder, error)) {
        return true;
    }
    const std::string weights = folder + "/model.safetensors";
    return std::filesystem::is_directory(folder, error) &&
           (std::filesystem::is_empty(folder, error) ||
            (file_exists(weights) && read_metadata(weights).count(kMergedFrom) > 0));
}

// A folder that is filled beside its place and put there when it is complete; removed when it never was.
class NewFolder {
public:
    explicit NewFolder(const std::string& place) : place_(place) {
        while (place_.size() > 1 && place_.back() == '/') {
            place_.pop_back();
        }
        CHECK(may_be_replaced(place_), "%s: is there and holds something else than a merged model",
              place_.c_str());
        path_ = format("%s.%ld.tmp", place_.c_str(), static_cast<long>(::getpid()));
        make_folder(path_);
    }
    NewFolder(const NewFolder&) = delete;
    NewFolder& operator=(const NewFolder&) = delete;
    ~NewFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::string& path() const { return path_; }
    void put_in_place() {
        std::error_code error;
        const std::string old = path_ + ".old";
        if (std::filesystem::exists(place_, error)) {
            std::filesystem::rename(place_, old, error);
        }
        if (!error) {
            std::filesystem::rename(path_, place_, error);
        }
        std::error_code ignored;
        if (error) {
            std::filesystem::rename(old, place_, ignored); // what was there, if anything was
        }
        CHECK(!error, "%s: cannot be written: %s", place_.c_str(), error.message().c_str());
        std::filesystem::remove_all(old, ignored);
    }

private:
    std::string place_, path_;
};

void refuse_quantised(const ModelFile& file) {
    for (const StoredTensor& tensor : file.tensors) {
        const bool plain = tensor.type == WeightType::f32 || tensor.type == WeightType::f16 ||
                           tensor.type == WeightType::bf16;
        CHECK(plain,
              "%s: tensor %s is %s, and the steps of quantised weights are larger than most of what an adapter "
              "changes: merge into the unquantised model, and quantise the result",
              file.path.c_str(), tensor.name.c_str(), weight_format(tensor.type).name);
    }
}

// W += s B A
void add_adapter(Kernels& kernels, HostTensor& weight, // (OUT,IN) +=
                 const HostTensor& a,                  // (R,IN)
                 const HostTensor& b,                  // (OUT,R)
                 double scale) {
    Buffer<real> device_weight(kernels), device_a(kernels), device_b(kernels);
    const auto upload = [](Buffer<real>& buffer, const HostTensor& tensor) {
        return buffer.upload(std::vector<real>(tensor.data.begin(), tensor.data.end()));
    };
    real* w = upload(device_weight, weight);
    kernels.matmul(Layout::nn, w, upload(device_b, b), upload(device_a, a), weight.shape[0], weight.shape[1],
                   a.shape[0], static_cast<real>(scale), true);
    const std::vector<real> sum = download(kernels, w, weight.numel());
    weight.data.assign(sum.begin(), sum.end());
}

// The weights of the model with its adapter in them. Returns the number of layers that changed.
int64_t merged_weights(HostTensors& weights, const ModelFile& file, Transformer& model) {
    for (const StoredTensor& tensor : file.tensors) {
        weights[tensor.name] = {tensor.shape, to_floats(tensor)};
    }
    const HostTensors adapter = download_tensors(model.adapter());
    const std::string prefix = "base_model.model.", suffix = ".lora_A.weight";
    int64_t layers = 0;
    for (const auto& [name, a] : adapter) {
        if (!name.ends_with(suffix)) {
            continue;
        }
        const std::string module = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
        add_adapter(model.kernels(), weights.at(module + ".weight"), a,
                    adapter.at(prefix + module + ".lora_B.weight"), model.lora().scale_of(module));
        layers++;
    }
    return layers;
}

Batch comparison_batch(const ModelConfig& config) {
    Rng rng(kSeed, "merge");
    Batch batch;
    for (int64_t s = 0; s < kSequences; s++) {
        std::vector<int32_t> ids;
        for (int64_t t = 0; t < std::min(kLength, config.max_positions); t++) {
            ids.push_back(static_cast<int32_t>(rng.below(config.vocab)));
        }
        batch.add_sequence(ids);
    }
    for (int32_t n = 0; n < batch.tokens(); n++) {
        batch.rows.push_back(n);
    }
    return batch;
}

void compare(MergeReport& report, const std::vector<real>& before, const std::vector<real>& after) {
    for (size_t i = 0; i < before.size(); i++) {
        const double x = static_cast<double>(before[i]), y = static_cast<double>(after[i]);
        CHECK(std::isfinite(x) && std::isfinite(y),
              "a logit is %f with the adapter beside the weights, %f merged", x, y);
        report.largest_difference = std::max(report.largest_difference, std::fabs(x - y));
        report.largest_logit = std::max(report.largest_logit, std::fabs(x));
    }
}

int64_t copy_tokenizer(const std::string& from, const std::string& to) {
    int64_t copied = 0;
    for (const char* name : kTokenizerFiles) {
        if (file_exists(from + "/" + name)) {
            write_file(to + "/" + name, read_file(from + "/" + name));
            copied++;
        }
    }
    return copied;
}

} // namespace

MergeReport merge(Kernels& kernels, const std::string& model_path, const std::string& adapter,
                  const std::string& out, const std::string& dtype) {
    const ModelFile file = open_model_file(model_path);
    const LoraConfig lora = open_adapter(adapter, file.config);
    refuse_quantised(file);
    const bool is_folder = std::filesystem::is_directory(model_path);
    const std::string base = is_folder ? model_path : std::filesystem::absolute(model_path).parent_path().string();
    std::error_code error;
    CHECK(!std::filesystem::equivalent(base, out, error), "%s: is the folder of the model that is merged into, expected another",
          out.c_str());
    NewFolder folder(out);
    MergeReport report;
    std::vector<real> before;
    const Batch batch = comparison_batch(file.config);
    {
        Transformer model(kernels, file.config, Train::nothing, lora, &file);
        load_adapter(adapter, model);
        before = model.logits(batch);
        HostTensors weights;
        report.layers = merged_weights(weights, file, model);
        write_model(folder.path(), file.config, weights, dtype,
                    {{kMergedFrom, model_path + " and " + adapter}});
    }
    if (!model_path.ends_with(".gguf")) { // a GGUF file has a tokenizer of its own inside
        report.files = copy_tokenizer(base, folder.path());
    }
    LoraConfig none;
    none.r = 0;
    report.rows = batch.tokens();
    compare(report, before, load_model(kernels, folder.path(), Train::nothing, none)->logits(batch));
    folder.put_in_place();
    return report;
}

} // namespace skintern
