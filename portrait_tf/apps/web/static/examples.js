element.querySelectorAll("button").forEach((button, index) => {
  button.addEventListener("click", () => trigger("example", { index }));
});
const isPicker = (one) => one.matches && one.matches("#source-row input[type=file]");
document.addEventListener("click", (event) => {
  if (isPicker(event.target)) event.target.accept = "image/*,.heic,.heif,.tif,.tiff";
}, true);
// Before it is sent: a large file takes minutes to be refused.
document.addEventListener("change", (event) => {
  if (!isPicker(event.target) || !event.target.files.length) return;
  const { name, size } = event.target.files[0];
  if (size <= __MOST_BYTES__) return;
  event.stopImmediatePropagation();
  event.target.value = "";
  trigger("oversize", { name, size });
}, true);
