// node client.js serving.desc localhost:8500 photo.jpg mask.png completed.png
"use strict";
const fs = require("fs");
const { promisify } = require("util");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [descriptors, address, photo, mask, out] = process.argv.slice(2);
const { PredictionService, ModelService } = grpc.loadPackageDefinition(
  loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors), {
    keepCase: true, enums: String, longs: Number,
  }),
).tensorflow.serving;

function open(Service) {
  // 4 MB is gRPC's limit for what a client receives, unless it says otherwise.
  return new Service(address, grpc.credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  });
}
const call = (client, method, request) =>
  promisify(client[method].bind(client))(request, { deadline: Date.now() + 60000 });
const strings = (path) => ({
  dtype: "DT_STRING", tensor_shape: { dim: [{ size: 1 }] }, string_val: [fs.readFileSync(path)],
});

async function main() {
  const state = await call(open(ModelService), "GetModelStatus", { model_spec: { name: "portrait" } });
  console.log(state.model_version_status.map((one) => `${one.version}: ${one.state}`).join(", "));
  const answer = await call(open(PredictionService), "Predict", {
    model_spec: { name: "portrait", signature_name: "encoded" },
    // Loaded from descriptors, a map is a list of its entries, as it is on the wire.
    inputs: [{ key: "image_bytes", value: strings(photo) }, { key: "mask_bytes", value: strings(mask) }],
  });
  const completed = answer.outputs.find((one) => one.key === "completed_bytes").value;
  fs.writeFileSync(out, completed.string_val[0]);
}
main().catch((error) => { console.error(error.message); process.exit(1); });
