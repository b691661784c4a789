// Several answers to one photo, as pictures to choose from.
const list = element.querySelector(".choices");

function mark(chosen) {
  [...list.children].forEach((one, index) => one.setAttribute("aria-pressed", index === chosen));
}

watch("value", () => {
  const urls = props.value ? JSON.parse(props.value) : [];
  list.replaceChildren(...urls.map((url, index) => {
    const button = document.createElement("button"), image = new Image();
    button.type = "button";
    button.setAttribute("aria-label", "Pose " + (index + 1));
    image.src = url;
    image.alt = "";
    button.append(image);
    button.addEventListener("click", () => { mark(index); trigger("choice", { index }); });
    return button;
  }));
  mark(0);
});
