// Before and after, divided by a slider that lies over the whole picture.
const find = (selector) => element.querySelector(selector);
const figure = find(".compare"), slider = find("input");

function divide() {
  const part = Number(slider.value);
  find(".before").style.clipPath = "inset(0 " + (100 - part) + "% 0 0)";
  find(".line").style.left = part + "%";
  find(".tag.left").style.opacity = part < 18 ? 0 : 1;
  find(".tag.right").style.opacity = part > 82 ? 0 : 1;
}

slider.addEventListener("input", divide);
watch("value", () => {
  if (!props.value) {
    figure.dataset.empty = "true";
    figure.removeAttribute("data-turn");
    return;
  }
  const pair = JSON.parse(props.value);
  find(".before").src = pair.before;
  find(".after").src = pair.after;
  find(".frame").style.setProperty("--ratio", pair.width / pair.height);
  slider.value = 50;
  divide();
  figure.dataset.empty = "false";
  figure.dataset.turn = pair.turn;
});
