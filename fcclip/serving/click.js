(_, ...values) => {
  // Runs at every click, before it is sent, and puts the number of the click before its values.
  //
  // gradio closes the stream of answers when none is under way. A click that is sent before the browser has heard of that
  // waits for its answer until the next click opens another stream; a second later one without a question does so.
  window.fcclipClicks = (window.fcclipClicks || 0) + 1;
  clearTimeout(window.fcclipPoke);
  window.fcclipPoke = setTimeout(() => document.querySelector("#fc-poke")?.click(), 1000);
  return [window.fcclipClicks, ...values];
}
